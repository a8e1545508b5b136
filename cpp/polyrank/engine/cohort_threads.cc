#include <ATen/Parallel.h>
#include <c10/core/AutogradState.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/thread_pool.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/cohort_threads.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace polyrank {

namespace {

using Clock = std::chrono::steady_clock;

// Calls that take less than it costs to wake the threads are not tried on them.
constexpr std::int64_t kWorthTrying = 50'000;  // nanoseconds
// A thread takes cohorts in runs of about this long, so that taking them costs little.
constexpr std::int64_t kRun = 10'000;  // nanoseconds
// The first calls on threads also start the threads and give them memory; they don't decide.
constexpr std::uint32_t kFirstTrials = 4;
// Every so many calls the slower way is measured again: the machine may have become less busy.
constexpr std::uint32_t kCallsBetweenTrials = 64;

std::atomic<int>& thread_count() {
  static std::atomic<int> count{std::max(1, static_cast<int>(std::thread::hardware_concurrency()))};
  return count;
}

// Threads beside the calling one. Made anew when more are asked for, and in a forked child, which
// has none of its parent's threads.
std::shared_ptr<c10::ThreadPool> thread_pool(int num_threads) {
  static std::mutex mutex;
  static auto* pool = new std::shared_ptr<c10::ThreadPool>();  // outlives static destruction
  static pid_t owner = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  if (*pool != nullptr && owner != getpid()) {
    new std::shared_ptr<c10::ThreadPool>(std::move(*pool));  // its threads can't be joined here
  }
  owner = getpid();
  if (*pool == nullptr || static_cast<int>((*pool)->size()) < num_threads) {
    *pool = std::make_shared<c10::ThreadPool>(num_threads);
  }
  return *pool;
}

// What PyTorch's kernels read of the calling thread's state.
struct CallerState {
  c10::impl::LocalDispatchKeySet keys = c10::impl::tls_local_dispatch_key_set();
  c10::AutogradState autograd = c10::AutogradState::get_tls_state();
};

// The cohorts of one call. Shared with the threads: one that wakes after the caller has gone on
// finds nothing left, and touches nothing of the caller's.
class CohortQueue {
 public:
  CohortQueue(std::int32_t num_cohorts, std::int32_t run_length,
              c10::function_ref<void(std::int32_t)> run)
      : num_cohorts_(num_cohorts), run_length_(run_length), num_open_(num_cohorts), run_(run) {}

  // Runs cohorts until none is left to take.
  void work() {
    for (;;) {
      const std::int32_t begin = next_.fetch_add(run_length_);
      if (begin >= num_cohorts_) {
        return;
      }
      const std::int32_t end = std::min(begin + run_length_, num_cohorts_);
      for (std::int32_t cohort = begin; cohort < end; ++cohort) {
        run_one(cohort);
      }
      if (num_open_.fetch_sub(end - begin) == end - begin) {
        num_open_.notify_all();
      }
    }
  }

  void work_for(const CallerState& caller) {
    if (next_.load() >= num_cohorts_) {
      return;
    }
    const c10::impl::ForceDispatchKeyGuard keys(caller.keys);
    const c10::AutogradState own = c10::AutogradState::get_tls_state();
    c10::AutogradState::set_tls_state(caller.autograd);
    work();
    c10::AutogradState::set_tls_state(own);
  }

  // Waits for the cohorts that other threads took.
  void wait() {
    for (std::int32_t open = num_open_.load(); open != 0; open = num_open_.load()) {
      num_open_.wait(open);
    }
    if (error_ != nullptr) {
      std::rethrow_exception(error_);
    }
  }

 private:
  void run_one(std::int32_t cohort) {
    try {
      run_(cohort);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(error_mutex_);
      if (error_ == nullptr || cohort < failed_cohort_) {
        error_ = std::current_exception();
        failed_cohort_ = cohort;
      }
    }
  }

  const std::int32_t num_cohorts_;
  const std::int32_t run_length_;
  std::atomic<std::int32_t> next_{0};
  std::atomic<std::int32_t> num_open_;  // cohorts that have not finished
  const c10::function_ref<void(std::int32_t)> run_;
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::int32_t failed_cohort_ = 0;
};

void run_on_threads(std::int32_t num_cohorts, std::int32_t run_length,
                    c10::function_ref<void(std::int32_t)> run) {
  const int num_threads = std::min(num_cohort_threads(), num_cohorts);
  const auto queue = std::make_shared<CohortQueue>(num_cohorts, run_length, run);
  const auto pool = thread_pool(num_threads - 1);
  for (int i = 1; i < num_threads; ++i) {
    pool->run([queue, caller = CallerState()] { queue->work_for(caller); });
  }
  queue->work();
  queue->wait();
}

}  // namespace

int num_cohort_threads() noexcept { return thread_count().load(std::memory_order_relaxed); }

void set_num_cohort_threads(int num_threads) {
  if (num_threads < 1) {
    throw UsageError(str_cat("cohorts run on 1 thread or more, not on ", num_threads, " threads"));
  }
  thread_count().store(num_threads, std::memory_order_relaxed);
}

bool may_use_cohort_threads() {
  return num_cohort_threads() > 1 && at::get_num_threads() == 1 && !at::in_parallel_region() &&
         (interpreter_hooks().holds_interpreter == nullptr ||
          !interpreter_hooks().holds_interpreter());
}

bool CohortTimes::choose_threads(std::int32_t num_cohorts) noexcept {
  const std::int64_t alone = per_cohort_[0].load(std::memory_order_relaxed);
  const std::int64_t on_threads = per_cohort_[1].load(std::memory_order_relaxed);
  if (num_cohorts < 2 || alone == 0 || alone * num_cohorts < kWorthTrying) {
    return false;
  }
  const std::uint32_t call = num_calls_.fetch_add(1, std::memory_order_relaxed);
  if (call < kFirstTrials) {
    return true;
  }
  const bool is_trial = call % kCallsBetweenTrials == 0;
  return (on_threads < alone) != is_trial;
}

void CohortTimes::note(bool on_threads, std::int32_t num_cohorts,
                       std::int64_t nanoseconds) noexcept {
  const std::int64_t measured = std::max<std::int64_t>(1, nanoseconds / num_cohorts);
  std::atomic<std::int64_t>& known = per_cohort_[on_threads ? 1 : 0];
  const std::int64_t before = known.load(std::memory_order_relaxed);
  // What interrupts a call makes it longer, never shorter: lean to the shortest.
  const bool is_shorter = before == 0 || measured < before;
  known.store(is_shorter ? measured : before + (measured - before) / 8, std::memory_order_relaxed);
}

std::int64_t CohortTimes::run_length() const noexcept {
  const std::int64_t alone = per_cohort_[0].load(std::memory_order_relaxed);
  return kRun / std::max<std::int64_t>(1, alone);
}

void for_each_cohort(std::int32_t num_cohorts, CohortTimes* times,
                     c10::function_ref<void(std::int32_t)> run) {
  const bool on_threads = times->choose_threads(num_cohorts);
  const auto start = std::chrono::steady_clock::now();
  if (on_threads) {
    const auto longest = std::max(1, num_cohorts / num_cohort_threads());
    run_on_threads(
        num_cohorts,
        static_cast<std::int32_t>(std::clamp<std::int64_t>(times->run_length(), 1, longest)), run);
  } else {
    for (std::int32_t cohort = 0; cohort < num_cohorts; ++cohort) {
      run(cohort);
    }
  }
  const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
  times->note(on_threads, num_cohorts, elapsed.count());
}

}  // namespace polyrank
