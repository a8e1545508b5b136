#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/cohort_threads.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int32_t kNumCohorts = 64;
constexpr std::int64_t kMicrosecond = 1'000;

class CohortThreads : public ::testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    set_num_cohort_threads(4);
    slow_.note(/*on_threads=*/false, 1, 1'000'000);  // so that threads are tried
  }
  void TearDown() override { set_num_cohort_threads(before_); }

  int before_ = num_cohort_threads();
  CohortTimes slow_;
};

void pause() { std::this_thread::sleep_for(std::chrono::microseconds(200)); }

TEST_F(CohortThreads, RunEachCohortOnce) {
  std::vector<int> runs(kNumCohorts, 0);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  for_each_cohort(kNumCohorts, &slow_, [&](std::int32_t cohort) {
    pause();
    ++runs[static_cast<std::size_t>(cohort)];
    const std::lock_guard<std::mutex> lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_THAT(runs, Each(1));
  EXPECT_GT(threads.size(), 1U);
  EXPECT_LE(threads.size(), 4U);
}

TEST_F(CohortThreads, HaveTheStateOfTheCaller) {
  const c10::AutoGradMode no_grad(false);
  const c10::impl::ExcludeDispatchKeyGuard excluded(c10::DispatchKey::Python);
  std::atomic<int> num_wrong{0};
  for_each_cohort(kNumCohorts, &slow_, [&](std::int32_t) {
    pause();
    const bool is_right = !c10::GradMode::is_enabled() &&
                          c10::impl::tls_is_dispatch_key_excluded(c10::DispatchKey::Python);
    num_wrong += is_right ? 0 : 1;
  });
  EXPECT_EQ(num_wrong, 0);
}

TEST_F(CohortThreads, GiveWhatTheirKernelsGiveOnOne) {
  const at::Tensor shared = at::arange(64.0);
  std::vector<at::Tensor> results(kNumCohorts);
  for_each_cohort(kNumCohorts, &slow_, [&](std::int32_t cohort) {
    pause();
    results[static_cast<std::size_t>(cohort)] = at::mul(shared, cohort).add_(shared);
  });
  for (std::int32_t cohort = 0; cohort < kNumCohorts; ++cohort) {
    const at::Tensor alone = at::mul(shared, cohort).add_(shared);
    EXPECT_TRUE(results[static_cast<std::size_t>(cohort)].equal(alone)) << cohort;
  }
}

TEST_F(CohortThreads, ReportTheLowestCohortThatFailed) {
  std::atomic<int> num_runs{0};
  const auto fail_above_8 = [&](std::int32_t cohort) {
    pause();
    ++num_runs;
    if (cohort > 8) {
      throw std::out_of_range("cohort " + std::to_string(cohort));
    }
  };
  for (int round = 0; round < 3; ++round) {
    EXPECT_THAT([&] { for_each_cohort(kNumCohorts, &slow_, fail_above_8); },
                ThrowsMessage<std::out_of_range>(HasSubstr("cohort 9")));
  }
  CohortTimes unknown;  // one thread, which stops at the failure
  num_runs = 0;
  EXPECT_THROW(for_each_cohort(kNumCohorts, &unknown, fail_above_8), std::out_of_range);
  EXPECT_EQ(num_runs, 10);
}

TEST_F(CohortThreads, OnlyWhileKernelsHaveOneThread) {
  EXPECT_TRUE(may_use_cohort_threads());
  set_num_cohort_threads(1);
  EXPECT_FALSE(may_use_cohort_threads());
  set_num_cohort_threads(4);
  at::set_num_threads(2);
  EXPECT_FALSE(may_use_cohort_threads());
  at::set_num_threads(1);
  EXPECT_THAT([] { set_num_cohort_threads(0); },
              ThrowsMessage<UsageError>(HasSubstr("1 thread or more, not on 0")));
}

TEST(CohortTimes, TryThreadsWhereTheyMayPay) {
  CohortTimes times;
  EXPECT_FALSE(times.choose_threads(8));  // nothing is known yet
  times.note(false, 8, 8 * kMicrosecond);
  EXPECT_FALSE(times.choose_threads(8));  // 8 us in all: not worth waking anyone
  EXPECT_TRUE(times.choose_threads(512));
  EXPECT_FALSE(times.choose_threads(1));
}

int threads_chosen(CohortTimes* times, int num_calls) {
  int num_chosen = 0;
  for (int call = 0; call < num_calls; ++call) {
    num_chosen += times->choose_threads(64) ? 1 : 0;
  }
  return num_chosen;
}

TEST(CohortTimes, KeepTheFasterWayAndTryTheOther) {
  CohortTimes slower_on_threads;
  slower_on_threads.note(false, 64, 64 * (10 * kMicrosecond));
  slower_on_threads.note(true, 64, 64 * (20 * kMicrosecond));
  EXPECT_LE(threads_chosen(&slower_on_threads, 640), 16);
  EXPECT_GE(threads_chosen(&slower_on_threads, 640), 5);

  CohortTimes faster_on_threads;
  faster_on_threads.note(false, 64, 64 * (10 * kMicrosecond));
  faster_on_threads.note(true, 64, 64 * (6 * kMicrosecond));
  EXPECT_GE(threads_chosen(&faster_on_threads, 640), 620);
  faster_on_threads.note(true, 64, 64 * (600 * kMicrosecond));  // one interrupted call
  EXPECT_LE(threads_chosen(&faster_on_threads, 640), 16);
  for (int call = 0; call < 3; ++call) {
    faster_on_threads.note(true, 64, 64 * (6 * kMicrosecond));
  }
  EXPECT_GE(threads_chosen(&faster_on_threads, 640), 620);
}

}  // namespace
}  // namespace polyrank
