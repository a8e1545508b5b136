#include <polyrank/collective/charged_tensors.h>

#include <array>

namespace polyrank {

ChargedTensors charged_tensors(const CollectiveSpec& spec) noexcept {
  const bool is_functional = spec.destination == Destination::kResults;
  switch (spec.kind) {
    case CollectiveKind::kNotACollective:
    case CollectiveKind::kBarrier:
    case CollectiveKind::kMonitoredBarrier:
    case CollectiveKind::kWait:
      return ChargedTensors::kNone;
    case CollectiveKind::kAllGather:
    case CollectiveKind::kGather:
      return ChargedTensors::kOutputs;
    case CollectiveKind::kReduceScatter:
      return is_functional && spec.inputs.packing == Packing::kCoalesced ? ChargedTensors::kOutputs
                                                                         : ChargedTensors::kInputs;
    case CollectiveKind::kAllToAll:
      return is_functional ? ChargedTensors::kBoth : ChargedTensors::kLarger;
    default:
      return ChargedTensors::kInputs;
  }
}

std::string_view to_string(ChargedTensors charged) noexcept {
  constexpr std::array<std::string_view, 5> kNames = {"none", "inputs", "outputs", "larger",
                                                      "both"};
  return kNames[static_cast<std::size_t>(charged)];
}

}  // namespace polyrank
