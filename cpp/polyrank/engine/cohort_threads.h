// Runs the cohorts of one operator call on several threads.
#pragma once

#include <c10/util/FunctionRef.h>
#include <polyrank/core/export.h>

#include <array>
#include <atomic>
#include <cstdint>

namespace polyrank {

// NOTE [Cohorts on threads]
// The cohorts of a call are independent, so they can run at once. But a kernel that uses threads of
// its own may add in another order than one that does not, and every rank must get what it would
// get alone. So threads go either to the kernels or to the cohorts, and the program says to which:
// while `torch.get_num_threads()` is 1, as torchrun sets it for its ranks, cohorts run on
// num_cohort_threads() threads and each kernel on one; else each kernel has PyTorch's threads, and
// cohorts run one after the other. Values do not depend on num_cohort_threads().
//
// Whether threads pay is measured: CohortTimes remembers, for each operator and size of tensors,
// what a cohort took both ways, and now and then tries the slower way again.

// What a cohort of an operator's calls took on one thread and on several.
// Thread rule: safe for concurrent use; a lost update costs nothing but a measurement.
class CohortTimes {
 public:
  // Whether to run `num_cohorts` of them on threads now.
  bool choose_threads(std::int32_t num_cohorts) noexcept;
  // Takes note of what a call of `num_cohorts` took.
  void note(bool on_threads, std::int32_t num_cohorts, std::int64_t nanoseconds) noexcept;
  // How many cohorts a thread should take at a time.
  std::int64_t run_length() const noexcept;

 private:
  std::array<std::atomic<std::int64_t>, 2> per_cohort_{};  // nanoseconds, [on threads]; 0: unknown
  std::atomic<std::uint32_t> num_calls_{0};
};

// One CohortTimes for each power of two that a cohort's number of elements reaches.
using CohortTimesBySize = std::array<CohortTimes, 64>;

// How many cohorts may run at once; at first, as many as there are processors for this process.
POLYRANK_API int num_cohort_threads() noexcept;

// Throws: UsageError if `num_threads` is less than 1.
POLYRANK_API void set_num_cohort_threads(int num_threads);

// Whether cohorts may run on threads now: see the note; never with the interpreter's lock held, on
// which the cohorts might have to wait.
bool may_use_cohort_threads();

// Calls `run` once for each cohort in [0, num_cohorts), in this order, or on threads if `times`
// says that this pays. The threads have the caller's dispatch keys and grad mode.
// Requires: may_use_cohort_threads()
// Throws: what `run` threw for the lowest cohort that failed. On one thread no later cohort ran.
void for_each_cohort(std::int32_t num_cohorts, CohortTimes* times,
                     c10::function_ref<void(std::int32_t)> run);

}  // namespace polyrank
