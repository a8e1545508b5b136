#include <polyrank/collective/c10d_rows.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/collective/functional_rows.h>
#include <polyrank/collective/symmetric_memory_rows.h>

#include <algorithm>
#include <array>

namespace polyrank {

namespace {

template <std::size_t... kSizes>
constexpr auto joined(const std::array<CollectiveSpec, kSizes>&... parts) {
  std::array<CollectiveSpec, (kSizes + ...)> all{};
  auto end = all.begin();
  ((end = std::copy(parts.begin(), parts.end(), end)), ...);
  return all;
}

constexpr auto kTable = joined(kC10dRows, kFunctionalRows, kSymmetricMemoryRows);

}  // namespace

std::span<const CollectiveSpec> collective_table() noexcept { return kTable; }

const CollectiveSpec* find_collective(std::string_view op_name) noexcept {
  const auto* const row =
      std::find_if(kTable.begin(), kTable.end(),
                   [op_name](const CollectiveSpec& spec) { return spec.op_name == op_name; });
  return row == kTable.end() ? nullptr : row;
}

std::string_view to_string(Packing packing) noexcept {
  constexpr std::array<std::string_view, 7> kNames = {
      "none", "tensor", "one", "per_member", "one_per_member", "coalesced", "member_by_tensor"};
  return kNames[static_cast<std::size_t>(packing)];
}

std::string_view to_string(Destination destination) noexcept {
  constexpr std::array<std::string_view, 4> kNames = {"nowhere", "inputs", "outputs", "results"};
  return kNames[static_cast<std::size_t>(destination)];
}

std::string_view to_string(Returns returns) noexcept {
  constexpr std::array<std::string_view, 4> kNames = {"nothing", "work", "tensors",
                                                      "tensors_and_work"};
  return kNames[static_cast<std::size_t>(returns)];
}

}  // namespace polyrank
