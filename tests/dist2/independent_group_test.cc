#include <ATen/Functions.h>
#include <dist2/gloo_ranks.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

namespace polyrank::dist2 {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

ProcessGroup split(const ProcessGroup& group, const std::vector<int>& ranks) {
  return group->splitGroup(ranks, std::nullopt, std::nullopt, std::nullopt, std::nullopt);
}

double sum_over(const ProcessGroup& group, double value) {
  auto x = full(value);
  group->allreduce(x)->wait();
  return x.front()[0].item<double>();
}

TEST(IndependentGroup, IsSplitIntoTheSameRanksAgainAndAgain) {
  run_gloo(3, [](const ProcessGroup& group) {
    const int rank = group->getRank();
    for (int round = 0; round < 2; ++round) {
      const ProcessGroup part =
          split(group, rank == 2 ? std::vector<int>{2} : std::vector<int>{1, 0});
      EXPECT_EQ(part->getSize(), rank == 2 ? 1 : 2);
      EXPECT_EQ(part->getRank(), rank == 2 ? 0 : rank);  // sorted, as PyTorch's
      EXPECT_EQ(sum_over(part, rank + 1.0), 3);
    }
    EXPECT_EQ(sum_over(group, 1), 3);
  });
}

TEST(IndependentGroup, APartsTimeoutIsItsOwn) {
  run_gloo(2, [](const ProcessGroup& group) {
    const std::chrono::milliseconds other{7000};
    const ProcessGroup part =
        group->splitGroup({0, 1}, other, std::nullopt, std::nullopt, std::nullopt);
    EXPECT_EQ(part->getDefaultBackend()->getBackendOptions()->timeout, other);
    EXPECT_EQ(group->getDefaultBackend()->getBackendOptions()->timeout, kTestTimeout);
  });
}

TEST(IndependentGroup, WhoIsNotInThePartGetsNothing) {
  run_gloo(2, [](const ProcessGroup& group) {
    const ProcessGroup part = split(group, {1});
    EXPECT_EQ(static_cast<bool>(part), group->getRank() == 1);
  });
}

TEST(IndependentGroup, PartsAreOfDifferentRanksOfTheGroup) {
  run_gloo(1, [](const ProcessGroup& group) {
    for (const std::vector<int>& ranks : {std::vector<int>{}, {0, 0}, {0, 1}, {-1}}) {
      EXPECT_THAT([&] { split(group, ranks); },
                  ThrowsMessage<UsageError>(HasSubstr("a group of 1 ranks was to be split into")));
    }
  });
}

TEST(IndependentGroup, PartsAreMerged) {
  const auto meeting = c10::make_intrusive<c10d::HashStore>();
  run_gloo(3, [&](const ProcessGroup& group) {
    const int rank = group->getRank();
    const ProcessGroup part =
        split(group, rank == 2 ? std::vector<int>{2} : std::vector<int>{0, 1});
    const c10d::ProcessGroup::MergeOptions options(kTestTimeout / 2);
    const ProcessGroup merged = part->mergeRemoteGroup(meeting, options, 3);
    EXPECT_EQ(merged->getSize(), 3);
    EXPECT_EQ(sum_over(merged, rank + 1.0), 6);
    const ProcessGroup last = split(merged, {2});
    EXPECT_EQ(static_cast<bool>(last), merged->getRank() == 2);
    EXPECT_EQ(part->getDefaultBackend()->getBackendOptions()->timeout, kTestTimeout);
    EXPECT_THAT([&] { part->mergeRemoteGroup(meeting, options, 3); },
                ThrowsMessage<CollectiveError>(HasSubstr("a group of 3 was to be merged")));
    merged->shutdown();
    auto x = full(1);
    EXPECT_THAT([&] { merged->allreduce(x); },
                ThrowsMessage<CollectiveError>(HasSubstr("shut down")));
  });
}

}  // namespace
}  // namespace polyrank::dist2
