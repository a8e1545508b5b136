// What the engine knows of an operator beside its schema.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <polyrank/core/export.h>
#include <polyrank/engine/cohort_threads.h>

#include <cstddef>
#include <optional>
#include <vector>

namespace polyrank {

// Handles an operator in place of the engine. The operator's arguments are on top of `stack`; the
// handler replaces them by the results.
using OperatorHandler = void (*)(const c10::OperatorHandle& op, torch::jit::Stack* stack);

// Facts about an operator, read off its schema once.
struct OperatorInfo {
  explicit OperatorInfo(const c10::OperatorHandle& op);

  std::size_t num_arguments;
  std::size_t num_returns;
  std::vector<bool> is_written;  // per argument: whether the operator writes to it
  // Per argument: whether the operator writes all of it and reads nothing of it. With `out=` that
  // is so of the out arguments, but not of others it writes, like a batch norm's running mean.
  std::vector<bool> is_overwritten;
  bool writes_anything = false;  // of is_written, or hidden_writes
  bool has_tensor_argument = false;
  bool returns_tensor = false;
  int generator_argument = -1;       // position, or -1
  bool is_random = false;            // draws from a generator, given or default
  bool changes_metadata = false;     // may change sizes, strides or storage of what it writes
  bool reads_geometry_only = false;  // of its first argument: zeros_like, new_empty, …
  bool is_foreach = false;           // acts on each position of parallel lists by itself
  // A factory also where it is given a plain tensor, since what it makes is written to rank by
  // rank: zeros_like, new_ones, … but not new_empty, by which copy.deepcopy makes the copy of a
  // tensor.
  bool makes_like = false;
  bool lifts_plain = false;  // the plain tensor argument is new, nobody else holds it

  // Its kernel is a function of Python (torch.library), which may call anything: what a rank is, a
  // collective, a random operator. So it is called once, with LocalTensors, and not for each
  // cohort.
  bool is_of_python = false;

  // Arguments that the operator writes to though its schema doesn't say so, while the bool argument
  // `hidden_write_switch` is true, or always without one.
  std::vector<std::size_t> hidden_writes;
  std::optional<std::size_t> hidden_write_switch;

  // What a cohort of this operator takes; the only member that calls change.
  mutable CohortTimesBySize cohort_times;

  // Set for operators that are not run once per cohort (collectives).
  OperatorHandler handler = nullptr;

 private:
  void find_hidden_writes(const c10::FunctionSchema& schema);
};

// Names the handler for an operator ("c10d::allreduce_") or for all operators of a namespace that
// have none of their own ("c10d::"). Takes effect for operators registered before and after.
// Requires: called before the first operator runs, from static initialization or on import.
POLYRANK_API void register_operator_handler(const std::string& name, OperatorHandler handler);

// The handler registered for `op`, or null.
OperatorHandler find_operator_handler(const c10::OperatorHandle& op);

}  // namespace polyrank
