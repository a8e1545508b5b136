#include <polyrank/exchange/returned_values.h>

#include <utility>

namespace polyrank {

namespace {

c10::IValue packed(const CollectiveSpec& spec, std::vector<at::Tensor> results) {
  if (spec.inputs.packing == Packing::kTensor) {
    return std::move(results.front());
  }
  return c10::IValue(std::move(results));
}

}  // namespace

std::vector<c10::IValue> returned_values(const CollectiveSpec& spec,
                                         c10::ArrayRef<c10::IValue> arguments,
                                         std::vector<at::Tensor> results,
                                         c10::intrusive_ptr<c10d::Work> work) {
  std::vector<c10::IValue> values;
  if (spec.returns == Returns::kTensors || spec.returns == Returns::kTensorsAndWork) {
    if (spec.destination == Destination::kResults) {
      values.push_back(packed(spec, std::move(results)));
    } else {
      const TensorArgument& argument =
          spec.destination == Destination::kOutputs ? spec.outputs : spec.inputs;
      values.push_back(arguments[static_cast<std::size_t>(argument.position)]);
    }
  }
  if (spec.returns == Returns::kWork || spec.returns == Returns::kTensorsAndWork) {
    values.emplace_back(std::move(work));
  }
  return values;
}

}  // namespace polyrank
