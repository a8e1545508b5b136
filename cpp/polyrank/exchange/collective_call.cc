#include <ATen/ScalarOps.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/collective_call.h>

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <utility>

namespace polyrank {

namespace {

using Tensors = std::vector<at::Tensor>;

const c10::IValue& at_position(c10::ArrayRef<c10::IValue> arguments, ArgumentPosition position) {
  return arguments[static_cast<std::size_t>(position)];
}

// The tensors of an argument, first by collective of the launch, then by member where it has one
// for each.
std::vector<Tensors> read_tensors(const CollectiveSpec& spec, const TensorArgument& argument,
                                  c10::ArrayRef<c10::IValue> arguments) {
  if (argument.packing == Packing::kNone) {
    return {};
  }
  const c10::IValue& value = at_position(arguments, argument.position);
  if (argument.packing == Packing::kTensor) {
    return {{value.toTensor()}};
  }
  std::vector<Tensors> lists;
  if (argument.packing == Packing::kOnePerMember || argument.packing == Packing::kMemberByTensor) {
    for (const c10::IValue& list : value.toListRef()) {
      lists.push_back(list.toTensorVector());
    }
  } else {
    lists.push_back(value.toTensorVector());
  }
  const bool one_list = argument.packing == Packing::kOnePerMember;
  if (one_list && lists.empty() && has_root(spec.kind)) {
    return {{}};  // on a rank that is not the root
  }
  const bool one_tensor = argument.packing == Packing::kOne;
  const std::size_t length = one_tensor ? lists.front().size() : lists.size();
  if ((one_list || one_tensor) && length != 1) {
    throw CollectiveError(str_cat(spec.op_name, " takes one ", one_list ? "list" : "tensor",
                                  " for the one device that a rank has, and was given ", length,
                                  "."));
  }
  if (argument.packing == Packing::kCoalesced) {
    std::vector<Tensors> units;
    for (at::Tensor& tensor : lists.front()) {
      units.push_back({std::move(tensor)});
    }
    return units;
  }
  if (argument.packing == Packing::kMemberByTensor) {
    std::vector<Tensors> units(lists.empty() ? 0 : lists.front().size());
    for (const Tensors& of_member : lists) {
      if (of_member.size() != units.size()) {
        throw CollectiveError(str_cat(spec.op_name, " was given lists of ", units.size(), " and ",
                                      of_member.size(),
                                      " tensors; each member's list must have one per input."));
      }
      for (std::size_t i = 0; i < units.size(); ++i) {
        units[i].push_back(of_member[i]);
      }
    }
    return units;
  }
  return lists;
}

std::vector<CollectiveUnit> read_units(const CollectiveSpec& spec,
                                       c10::ArrayRef<c10::IValue> arguments) {
  std::vector<Tensors> inputs = read_tensors(spec, spec.inputs, arguments);
  std::vector<Tensors> outputs;
  if (spec.destination == Destination::kInputs) {
    outputs = inputs;
  } else {
    outputs = read_tensors(spec, spec.outputs, arguments);
  }
  if (spec.destination == Destination::kOutputs && outputs.size() != inputs.size()) {
    throw CollectiveError(str_cat(spec.op_name, " was given ", inputs.size(), " inputs and ",
                                  outputs.size(), " outputs; it needs as many of both."));
  }
  std::vector<CollectiveUnit> units;
  units.reserve(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    units.push_back({std::move(inputs[i]), outputs.empty() ? Tensors{} : std::move(outputs[i])});
  }
  return units;
}

std::vector<c10::SymInt> read_ints(const c10::IValue& value) {
  if (!value.isList()) {
    return {value.toSymInt()};
  }
  std::vector<c10::SymInt> ints;
  for (const c10::IValue& element : value.toListRef()) {
    ints.push_back(element.toSymInt());
  }
  return ints;
}

// Peers, tags and directions of sends and receives.
void read_messages(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments,
                   std::vector<c10::SymInt> peers, CollectiveCall* call) {
  call->peers = std::move(peers);
  for (const c10::SymInt& tag : read_ints(at_position(arguments, spec.tag))) {
    call->tags.push_back(tag.guard_int(__FILE__, __LINE__));
  }
  if (spec.operations == kAbsent) {
    call->is_send.push_back(spec.kind == CollectiveKind::kSend);
  } else {
    for (const c10::IValue& operation : at_position(arguments, spec.operations).toListRef()) {
      call->is_send.push_back(operation.toStringRef() == "isend");
    }
  }
  if (call->units.size() != call->peers.size() || call->units.size() != call->tags.size() ||
      call->units.size() != call->is_send.size()) {
    throw CollectiveError(str_cat(spec.op_name, " was given ", call->units.size(), " tensors, ",
                                  call->peers.size(), " peers, ", call->tags.size(), " tags and ",
                                  call->is_send.size(), " operations; it needs as many of each."));
  }
}

void read_group(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments,
                CollectiveCall* call) {
  const c10::IValue& group = at_position(arguments, spec.group);
  if (group.isString()) {
    call->group_name = group.toStringRef();
  } else if (group.isCustomClass()) {
    const auto process_group = group.toCustomClass<c10d::ProcessGroup>();
    call->group_name = process_group->getGroupName();
    call->process_group_size = process_group->getSize();
  } else {
    throw UnsupportedOpError(str_cat(spec.op_name, " was given a group of type ", group.tagKind(),
                                     "; give a ProcessGroup or its `group_name`."));
  }
  if (spec.group_size != kAbsent) {
    call->stated_group_size = at_position(arguments, spec.group_size).toInt();
  }
}

void read_reduce_op(const c10::IValue& value, CollectiveCall* call) {
  if (value.isString()) {
    call->reduce_op = reduce_op_from_name(value.toStringRef());
  } else {
    const auto op = value.toCustomClass<c10d::ReduceOp>();
    call->reduce_op = static_cast<ReduceOp>(op->op_);
    if (const auto* factor =
            dynamic_cast<const c10d::PreMulSumSupplement*>(op->supplement_.get())) {
      call->premul_factor = factor->tensor_factor.defined()
                                ? factor->tensor_factor
                                : c10::scalar_to_tensor(factor->double_factor);
    }
  }
  if (call->reduce_op == ReduceOp::kPremulSum && !call->premul_factor.defined()) {
    throw UnsupportedOpError(
        str_cat(call->spec->op_name,
                " was given premul_sum without the factor to multiply by. Scale the tensor first "
                "and use sum."));
  }
}

}  // namespace

std::optional<RankDependentArguments>& next_rank_dependent_arguments() noexcept {
  thread_local std::optional<RankDependentArguments> arguments;
  return arguments;
}

RankDependentArgumentsGuard::RankDependentArgumentsGuard(RankDependentArguments arguments) {
  next_rank_dependent_arguments() = std::move(arguments);
}

RankDependentArgumentsGuard::~RankDependentArgumentsGuard() {
  next_rank_dependent_arguments().reset();
}

std::vector<at::Tensor> CollectiveCall::tensors() const {
  std::vector<at::Tensor> tensors;
  for (const CollectiveUnit& unit : units) {
    tensors.insert(tensors.end(), unit.inputs.begin(), unit.inputs.end());
    tensors.insert(tensors.end(), unit.outputs.begin(), unit.outputs.end());
  }
  return tensors;
}

std::vector<at::Tensor> CollectiveCall::written() const {
  std::vector<at::Tensor> tensors;
  for (const CollectiveUnit& unit : units) {
    tensors.insert(tensors.end(), unit.outputs.begin(), unit.outputs.end());
  }
  return tensors;
}

bool is_asynchronous(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments) {
  return spec.async_op == kAbsent ? spec.returns != Returns::kNothing
                                  : at_position(arguments, spec.async_op).toBool();
}

CollectiveCall read_call(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments) {
  CollectiveCall call;
  call.spec = &spec;
  if (spec.group != kAbsent) {
    read_group(spec, arguments, &call);
  }
  call.units = read_units(spec, arguments);
  const RankDependentArguments own =
      std::exchange(next_rank_dependent_arguments(), {}).value_or(RankDependentArguments{});
  call.only_rank = own.only_rank;
  if (spec.root != kAbsent) {
    std::vector<c10::SymInt> roots = own.root.has_value()
                                         ? std::vector<c10::SymInt>{*own.root}
                                         : read_ints(at_position(arguments, spec.root));
    if (has_root(spec.kind)) {
      call.root = roots.front().guard_int(__FILE__, __LINE__);
    } else {
      read_messages(spec, arguments, std::move(roots), &call);
    }
  }
  if (spec.reduce_op != kAbsent) {
    read_reduce_op(at_position(arguments, spec.reduce_op), &call);
  }
  if (spec.input_split_sizes != kAbsent) {
    call.output_split_sizes = own.output_split_sizes.empty()
                                  ? read_ints(at_position(arguments, spec.output_split_sizes))
                                  : own.output_split_sizes;
    call.input_split_sizes = own.input_split_sizes.empty()
                                 ? read_ints(at_position(arguments, spec.input_split_sizes))
                                 : own.input_split_sizes;
  }
  call.is_async = is_asynchronous(spec, arguments);
  if (spec.gather_dim != kAbsent) {
    call.gather_dim = at_position(arguments, spec.gather_dim).toInt();
    call.shard_dim = at_position(arguments, spec.shard_dim).toInt();
  }
  if (spec.sparse_indices != kAbsent && !at_position(arguments, spec.sparse_indices).isNone()) {
    throw UnsupportedOpError(
        "all_reduce of sparse tensors is not supported. Convert them with "
        "`to_dense()`.");
  }
  return call;
}

}  // namespace polyrank
