// The engine: one operator on LocalTensors.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <polyrank/core/export.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/operator_info.h>

namespace polyrank {

// Runs `op` once per cohort of its operands and replaces the arguments on `stack` by the results.
// `mode` may be null: LocalTensors work outside of any mode too.
// Throws: DivergenceError, UnsupportedOpError, UsageError, and whatever the operator throws.
void run_operator(const c10::OperatorHandle& op, const OperatorInfo& info, LockstepMode* mode,
                  torch::jit::Stack* stack);

// Runs `op` below our modes on arguments that hold no LocalTensor.
void run_below(const c10::OperatorHandle& op, bool has_python_tensors, torch::jit::Stack* stack);

// Counts of the work done so far in this process: how many calls the cohorts took, and how many
// one call per rank would have been.
struct CallCounts {
  std::uint64_t cohort_calls = 0;
  std::uint64_t rank_calls = 0;
};
POLYRANK_API CallCounts call_counts() noexcept;
POLYRANK_API void reset_call_counts() noexcept;

// Excludes the dispatch keys above an operator of one cohort; with `keep_python` dispatch modes and
// tensor subclasses below still see it.
class POLYRANK_API CohortKeysGuard {
 public:
  explicit CohortKeysGuard(bool keep_python);

 private:
  c10::impl::ExcludeDispatchKeyGuard exclude_;
};

}  // namespace polyrank
