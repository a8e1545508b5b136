#include <polyrank/collective/charged_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/collective_op.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/report/collective_trace.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>
#include <utility>

namespace polyrank {

namespace {

using Values = CollectiveOp::Values;

const CollectiveSpec& spec_of(std::string_view op_name) {
  const CollectiveSpec* spec = find_collective(op_name);
  if (spec == nullptr || spec->kind == CollectiveKind::kNotACollective) {
    throw UsageError(str_cat(op_name,
                             " is no collective that polyrank knows; "
                             "polyrank.fake_collectives.collective_ops lists those that it does."));
  }
  return *spec;
}

[[noreturn]] void throw_without(const CollectiveSpec& spec, std::string_view what) {
  throw UsageError(str_cat(spec.op_name, " (", to_string(spec.kind), ") has no ", what, "."));
}

const c10::IValue& argument(Values arguments, const CollectiveSpec& spec,
                            ArgumentPosition position) {
  const auto index = static_cast<std::size_t>(std::int64_t{position});
  if (index >= arguments.size()) {
    throw UsageError(str_cat(spec.op_name, " was given ", arguments.size(),
                             " arguments; its schema has more. Give all of them, in order."));
  }
  return arguments[index];
}

std::int64_t storage_bytes(const at::Tensor& tensor) {
  return static_cast<std::int64_t>(tensor.storage().sym_nbytes().guard_int(__FILE__, __LINE__));
}

// The values that hold what the operator gives.
Values outputs_of(const CollectiveSpec& spec, Values arguments, Values results) {
  if (spec.destination == Destination::kResults) {
    if (results.empty()) {
      throw UsageError(str_cat(spec.op_name, " allocates what it gives: its results are needed."));
    }
    return results;
  }
  const TensorArgument& outputs =
      spec.destination == Destination::kOutputs ? spec.outputs : spec.inputs;
  return argument(arguments, spec, outputs.position);
}

}  // namespace

c10::intrusive_ptr<c10d::ProcessGroup> CollectiveOp::get_process_group(std::string_view op_name,
                                                                       Values arguments) {
  const CollectiveSpec& spec = spec_of(op_name);
  if (spec.group == kAbsent) {
    throw_without(spec, "process group");
  }
  const c10::IValue& group = argument(arguments, spec, spec.group);
  if (group.isString()) {
    return c10d::resolve_process_group(group.toStringRef());
  }
  if (!group.isCustomClass()) {
    throw UsageError(str_cat(op_name, " was given a group of type ", group.tagKind(),
                             "; give a ProcessGroup or its `group_name`."));
  }
  return group.toCustomClass<c10d::ProcessGroup>();
}

std::int64_t CollectiveOp::get_comm_tensor_size(std::string_view op_name, Values arguments,
                                                Values results) {
  const CollectiveSpec& spec = spec_of(op_name);
  const ChargedTensors charged = charged_tensors(spec);
  const auto inputs = [&] { return sum_tensors(argument(arguments, spec, spec.inputs.position)); };
  const auto outputs = [&] { return sum_tensors(outputs_of(spec, arguments, results)); };
  switch (charged) {
    case ChargedTensors::kNone:
      break;
    case ChargedTensors::kInputs:
      return inputs();
    case ChargedTensors::kOutputs:
      return outputs();
    case ChargedTensors::kLarger:
      return std::max(inputs(), outputs());
    case ChargedTensors::kBoth:
      return inputs() + outputs();
  }
  throw_without(spec, "tensors that it moves");
}

c10::intrusive_ptr<c10d::Work> CollectiveOp::get_work(std::string_view op_name, Values results) {
  const CollectiveSpec& spec = spec_of(op_name);
  const bool returns_work =
      spec.returns == Returns::kWork || spec.returns == Returns::kTensorsAndWork;
  if (!returns_work || results.empty() || !results.back().isCustomClass()) {
    throw_without(spec, "Work among its results");
  }
  return results.back().toCustomClass<c10d::Work>();
}

std::int64_t CollectiveOp::sum_tensors(Values values) {
  std::int64_t bytes = 0;
  for (const c10::IValue& value : values) {
    if (value.isTensor()) {
      bytes += value.toTensor().defined() ? storage_bytes(value.toTensor()) : 0;
    } else if (value.isList()) {
      bytes += sum_tensors(value.toListRef());
    } else if (value.isTuple()) {
      bytes += sum_tensors(value.toTupleRef().elements().asArrayRef());
    }
  }
  return bytes;
}

std::int64_t CollectiveOp::payload_bytes(std::string_view op_name, Values arguments,
                                         Values results) {
  const CollectiveSpec& spec = spec_of(op_name);
  if (spec.group == kAbsent) {
    throw_without(spec, "payload");
  }
  const RankRuns members = RankRuns::of_run(
      {.first = 0, .count = get_process_group(op_name, arguments)->getSize(), .step = 1});
  TracedLaunch traced;
  traced.launch.kind = spec.kind;
  traced.launch.group = std::make_shared<Group>("", "", members);
  add_details(read_call(spec, arguments), tensors_among(results), &traced.launch);
  return traced.payload_bytes();
}

std::int64_t generate_unique_id() noexcept {
  static std::atomic<std::int64_t> last{0};
  return ++last;
}

}  // namespace polyrank
