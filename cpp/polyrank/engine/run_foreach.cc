#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/run_foreach.h>
#include <polyrank/engine/run_operator.h>

#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

using Positions = std::vector<std::size_t>;

bool is_parallel(const c10::IValue& argument, std::size_t length) {
  return argument.isList() && argument.toListRef().size() == length;
}

// The positions of the lists, grouped by the partition of what stands there; in order of first
// occurrence. Positions without a LocalTensor are a group too.
std::vector<Positions> group_positions(c10::ArrayRef<c10::IValue> arguments, std::size_t length) {
  std::vector<std::optional<RankPartition>> partitions(length);
  for (const c10::IValue& argument : arguments) {
    if (!argument.isTensorList() || !is_parallel(argument, length)) {
      continue;
    }
    const auto entries = argument.toListRef();
    for (std::size_t i = 0; i < length; ++i) {
      if (const LocalTensorImpl* impl = LocalTensorImpl::from(entries[i].toTensor())) {
        const RankPartition& own = impl->partition();
        std::optional<RankPartition>& common = partitions[i];
        common = common && common->ranks() == own.ranks() ? meet(*common, own) : own;
      }
    }
  }
  std::unordered_map<RankPartition, std::size_t> group_of;
  std::vector<Positions> groups;
  for (std::size_t i = 0; i < length; ++i) {
    const auto [entry, is_new] =
        group_of.emplace(partitions[i].value_or(RankPartition()), groups.size());
    if (is_new) {
      groups.emplace_back();
    }
    groups[entry->second].push_back(i);
  }
  return groups;
}

c10::IValue select(const c10::IValue& list, const Positions& positions) {
  c10::impl::GenericList selected(list.toList().elementType());
  for (const std::size_t position : positions) {
    selected.push_back(list.toListRef()[position]);
  }
  return selected;
}

}  // namespace

void run_foreach(const c10::OperatorHandle& op, const OperatorInfo& info, LockstepMode* mode,
                 torch::jit::Stack* stack) {
  const auto arguments = torch::jit::last(*stack, info.num_arguments).vec();
  const std::size_t length = arguments.front().toListRef().size();
  const std::vector<Positions> groups = group_positions(arguments, length);
  if (groups.size() <= 1) {
    run_operator(op, info, mode, stack);
    return;
  }
  std::vector<std::vector<c10::IValue>> results(info.num_returns, std::vector<c10::IValue>(length));
  for (const Positions& positions : groups) {
    torch::jit::Stack call;
    for (const c10::IValue& argument : arguments) {
      call.push_back(is_parallel(argument, length) ? select(argument, positions) : argument);
    }
    op.callBoxed(&call);
    for (std::size_t i = 0; i < call.size(); ++i) {
      for (std::size_t k = 0; k < positions.size(); ++k) {
        results[i][positions[k]] = call[i].toListRef()[k];
      }
    }
  }
  torch::jit::drop(*stack, info.num_arguments);
  for (const auto& column : results) {
    c10::impl::GenericList list(c10::TensorType::get());
    for (const c10::IValue& value : column) {
      list.push_back(value);
    }
    stack->emplace_back(std::move(list));
  }
}

}  // namespace polyrank
