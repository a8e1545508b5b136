#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/collective_call.h>

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
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    units.push_back({std::move(inputs[i]), outputs.empty() ? Tensors{} : std::move(outputs[i])});
  }
  return units;
}

std::vector<c10::SymInt> read_split_sizes(const c10::IValue& value) {
  std::vector<c10::SymInt> sizes;
  for (const c10::IValue& size : value.toListRef()) {
    sizes.push_back(size.toSymInt());
  }
  return sizes;
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

}  // namespace

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

CollectiveCall read_call(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments) {
  CollectiveCall call;
  call.spec = &spec;
  if (spec.group != kAbsent) {
    read_group(spec, arguments, &call);
  }
  if (spec.root != kAbsent) {
    call.root = at_position(arguments, spec.root).toInt();
  }
  if (spec.reduce_op != kAbsent) {
    const c10::IValue& op = at_position(arguments, spec.reduce_op);
    call.reduce_op = op.isString() ? reduce_op_from_name(op.toStringRef())
                                   : static_cast<ReduceOp>(op.toCustomClass<c10d::ReduceOp>()->op_);
  }
  if (spec.input_split_sizes != kAbsent) {
    call.output_split_sizes = read_split_sizes(at_position(arguments, spec.output_split_sizes));
    call.input_split_sizes = read_split_sizes(at_position(arguments, spec.input_split_sizes));
  }
  if (spec.gather_dim != kAbsent) {
    call.gather_dim = at_position(arguments, spec.gather_dim).toInt();
    call.shard_dim = at_position(arguments, spec.shard_dim).toInt();
  }
  if (spec.sparse_indices != kAbsent && !at_position(arguments, spec.sparse_indices).isNone()) {
    throw UnsupportedOpError(
        "all_reduce of sparse tensors is not supported. Convert them with "
        "`to_dense()`.");
  }
  call.units = read_units(spec, arguments);
  return call;
}

}  // namespace polyrank
