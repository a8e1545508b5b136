// What a collective operator moves and in which group, told from its arguments and results.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <string_view>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>

namespace polyrank {

// For a kernel, a mode or a tool that has an operator's handle, its arguments as they were on the
// stack (`torch::jit::last(stack, number of arguments)`), and where asked for its results. Tensors
// may be of any device, or fake.
//
// All functions throw UsageError if the table has no such operator, or nothing of what is asked
// for: a wait has no group, a barrier no tensors.
//
// Source, for the first four: torch.distributed._tools.fake_collectives of torch 2.13, whose
// numbers these are; it knows 37 of the table's operators.
struct POLYRANK_API CollectiveOp {
  using Values = c10::ArrayRef<c10::IValue>;

  // Throws: c10::Error if no process group has the name that the operator was given.
  static c10::intrusive_ptr<c10d::ProcessGroup> get_process_group(std::string_view op_name,
                                                                  Values arguments);

  // Bytes of the storages of the tensors that charged_tensors() names. A view is charged for its
  // base, and two views of one storage twice.
  static std::int64_t get_comm_tensor_size(std::string_view op_name, Values arguments,
                                           Values results);

  // The Work among the results.
  static c10::intrusive_ptr<c10d::Work> get_work(std::string_view op_name, Values results);

  // Bytes of the storages of all tensors in `values`, lists of lists included.
  static std::int64_t sum_tensors(Values values);

  // What the tensors hold: NOTE [Payload] in collective/cost_model.h.
  // Throws: also CollectiveError, as read_call().
  static std::int64_t payload_bytes(std::string_view op_name, Values arguments, Values results);
};

// A number that no other call gives. Draws from no random stream.
// Thread rule: safe from any thread.
POLYRANK_API std::int64_t generate_unique_id() noexcept;

}  // namespace polyrank
