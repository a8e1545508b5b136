#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/backend_rules.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/world/meeting_exchange.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

using Tensors = std::vector<at::Tensor>;
using Calls = std::vector<CollectiveCall*>;  // by participant

void add_shapes(const Tensors& tensors, BoardList<TensorShape>* shapes) {
  for (const at::Tensor& tensor : tensors) {
    shapes->push_back({std::string(dtype_name(tensor.scalar_type())), tensor.sizes().vec()});
  }
}

// The order in memory of inputs whose members must have one.
void add_strides(const CollectiveCall& call, const Tensors& tensors,
                 BoardList<TensorShape>* shapes) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    if (call.spec->destination != Destination::kResults && tensor.layout() == c10::kStrided &&
        !tensor.is_contiguous() &&
        needed_memory_order(*call.spec, ArgumentRole::kInput, tensor.device().type()) ==
            MemoryOrder::kDense) {
      (*shapes)[shapes->size() - tensors.size() + i].strides = tensor.strides().vec();
    }
  }
}

std::vector<std::int64_t> as_ints(const std::vector<c10::SymInt>& sizes) {
  std::vector<std::int64_t> ints;
  ints.reserve(sizes.size());
  for (const c10::SymInt& size : sizes) {
    ints.push_back(size.expect_int());
  }
  return ints;
}

// One input of all members. Where only the root has any (scatter), it stands for the others.
MemberTensors input_of_members(const Calls& calls, std::size_t unit, std::size_t input) {
  MemberTensors tensors;
  for (const CollectiveCall* call : calls) {
    const Tensors& own = call->units[unit].inputs;
    const Tensors& roots = calls[static_cast<std::size_t>(call->root)]->units[unit].inputs;
    const at::Tensor& tensor = input < own.size() ? own[input] : roots[input];
    tensors.append(call->premul_factor.defined()
                       ? at::mul(tensor, call->premul_factor.reshape({}).to(tensor.scalar_type()))
                       : tensor);
  }
  return tensors;
}

MemberInputs inputs_of(const Meeting& meeting, const Calls& calls, std::size_t unit) {
  MemberInputs inputs;
  inputs.group_label = meeting.group->name;
  inputs.members = meeting.participants;
  const CollectiveCall& roots = *calls[static_cast<std::size_t>(calls.front()->root)];
  const std::size_t num_inputs = roots.units[unit].inputs.size();
  for (std::size_t input = 0; input < num_inputs; ++input) {
    inputs.tensors.push_back(input_of_members(calls, unit, input));
  }
  const auto has_sizes = [&](auto member) {
    return std::any_of(calls.begin(), calls.end(),
                       [&](const CollectiveCall* call) { return !(call->*member).empty(); });
  };
  inputs.count_others(*calls.front(), calls.front()->units[unit],
                      [](const at::Tensor& tensor) { return tensor.numel(); });
  const bool has_uneven_inputs = has_sizes(&CollectiveCall::input_split_sizes);
  const bool has_uneven_outputs = has_sizes(&CollectiveCall::output_split_sizes);
  for (const CollectiveCall* call : calls) {
    if (has_uneven_inputs) {
      inputs.input_split_sizes.push_back(as_ints(call->input_split_sizes));
    }
    if (has_uneven_outputs) {
      inputs.output_split_sizes.push_back(as_ints(call->output_split_sizes));
    }
  }
  return inputs;
}

void check_fits(const Meeting& meeting, std::size_t member, const at::Tensor& result,
                const at::Tensor& target) {
  if (target.numel() != result.numel() || target.scalar_type() != result.scalar_type()) {
    throw CollectiveError(str_cat(
        "group \"", meeting.group->name, "\": ", to_string(meeting.launches[member].value().kind),
        " gives rank ", meeting.participants[member], " ", describe_tensor(result),
        ", but the tensor to hold it is ", describe_tensor(target),
        ". Allocate the output with that size and dtype."));
  }
}

}  // namespace

Launch launch_of(const CollectiveCall& call, std::string where) {
  const CollectiveKind kind = call.spec->kind;
  Launch launch{.kind = kind, .root = call.root, .where = std::move(where)};
  for (const CollectiveUnit& unit : call.units) {
    if (kind != CollectiveKind::kReceive) {
      add_shapes(unit.inputs, &launch.inputs);
      add_strides(call, unit.inputs, &launch.inputs);
    }
    if (kind == CollectiveKind::kReceive || call.spec->destination == Destination::kOutputs) {
      add_shapes(unit.outputs, &launch.outputs);
    }
  }
  if (is_reduction(kind)) {
    launch.reduce_op = call.reduce_op;
  }
  launch.input_split_sizes = as_ints(call.input_split_sizes);
  launch.output_split_sizes = as_ints(call.output_split_sizes);
  return launch;
}

std::vector<ParticipantResult> results_of(const Meeting& meeting, const Calls& calls,
                                          std::size_t unit) {
  constexpr std::size_t kSender = 0;
  constexpr std::size_t kReceiver = 1;
  std::vector<ParticipantResult> results;
  const auto add = [&](std::size_t member, std::size_t output, const at::Tensor& result) {
    check_fits(meeting, member, result, calls[member]->units[unit].outputs[output]);
    results.push_back({.participant = member, .output = output, .tensor = result});
  };
  if (meeting.is_message) {
    add(kReceiver, 0, calls[kSender]->units[unit].inputs.front());
    return results;
  }
  const CollectiveCall& first = *calls.front();
  const MemberOutputs outputs = exchange(first, inputs_of(meeting, calls, unit));
  for (std::size_t member = 0; member < calls.size(); ++member) {
    if (gives_the_root_alone(first.spec->kind) && member != static_cast<std::size_t>(first.root)) {
      continue;
    }
    const std::size_t num_targets = calls[member]->units[unit].outputs.size();
    for (std::size_t i = 0; i < std::min(num_targets, outputs.tensors.size()); ++i) {
      add(member, i, outputs.tensors[i][outputs.same_on_members ? 0 : member]);
    }
  }
  return results;
}

}  // namespace polyrank
