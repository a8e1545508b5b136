#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/process_groups.h>
#include <polyrank/dist2/world_backends.h>
#include <polyrank/world/fake/fake_process_group.h>

#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

namespace polyrank::dist2 {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

ProcessGroup make(const char* backend) { return new_group(backend, seconds(5), c10::kCPU); }

double sum_over(const ProcessGroup& group, double value) {
  std::vector<at::Tensor> x{at::full({1}, value)};
  group->allreduce(x)->wait();
  return x.front().item<double>();
}

ProcessGroup split(const ProcessGroup& group, const std::vector<int>& ranks) {
  return group->splitGroup(ranks, std::nullopt, std::nullopt, std::nullopt, std::nullopt);
}

TEST(WorldBackends, RealBackendsGiveTheGroupOfTheWorldThatRuns) {
  {
    const LockstepWorld world(3);
    EXPECT_EQ(make("gloo")->getBackend(c10::kCPU)->getBackendName(), "lockstep");
    EXPECT_EQ(make("nccl")->getSize(), 3);
  }
  run_ranks(3, [](RankContext& context) {
    const ProcessGroup group = make("gloo");
    EXPECT_EQ(group->getBackend(c10::kCPU)->getBackendName(), "threads");
    EXPECT_EQ(group->getRank(), context.rank());
    EXPECT_EQ(sum_over(group, static_cast<double>(context.rank())), 3);
  });
  const auto rank = std::make_shared<FakeRank>(2);
  set_fake_world(FakeMember(GroupFamily::fibers({{8, 1}}, 8), rank));
  const ProcessGroup group = make("gloo");
  EXPECT_EQ(group->getRank(), 2);
  rank->value = 5;
  EXPECT_EQ(group->getRank(), 5);
  EXPECT_EQ(sum_over(group, 1), 8);
  set_fake_world(std::nullopt);
}

TEST(WorldBackends, GroupsOfThreadsAreSplitMergedAndShutDown) {
  run_ranks(3, [](RankContext& context) {
    const ProcessGroup group = make("threads");
    const auto rank = static_cast<int>(context.rank());
    for (int round = 0; round < 2; ++round) {
      const ProcessGroup part =
          split(group, rank == 2 ? std::vector<int>{2} : std::vector<int>{0, 1});
      EXPECT_EQ(sum_over(part, rank + 1.0), 3);
      const auto store =
          c10::make_intrusive<c10d::PrefixStore>(std::to_string(round), group->getStore());
      const ProcessGroup merged =
          part->mergeRemoteGroup(store, c10d::ProcessGroup::MergeOptions(), 3);
      EXPECT_EQ(sum_over(merged, rank + 1.0), 6);
    }
    group->shutdown();
    EXPECT_THAT([&] { sum_over(group, 1); },
                ThrowsMessage<CollectiveError>(HasSubstr("after the group was shut down")));
  });
}

TEST(WorldBackends, WhoIsNoRankIsTold) {
  const Endpoint one{c10::make_intrusive<c10d::HashStore>(), 0, 1};
  EXPECT_THAT([&] { new_group("threads", seconds(1), c10::kCPU, {}, one); },
              ThrowsMessage<UsageError>(HasSubstr("this thread is no rank")));
  EXPECT_THAT([&] { new_group("lockstep", seconds(1), c10::kCPU, {}, one); },
              ThrowsMessage<UsageError>(HasSubstr("no ranks run in lockstep here")));
  run_ranks(2, [&](RankContext&) {
    EXPECT_THAT([&] { new_group("threads", seconds(1), c10::kCPU, {}, one); },
                ThrowsMessage<UsageError>(HasSubstr("leave rank and world_size out")));
  });
}

TEST(WorldBackends, TheFakeGroupHasItsOptions) {
  const Endpoint place{{}, 1, 4};
  const BackendOptions options{{"values", "pytorch"}, {"checks", false}};
  const ProcessGroup group = new_group("fake", seconds(1), c10::kCPU, options, place);
  const auto backend =
      c10::dynamic_intrusive_pointer_cast<FakeProcessGroup>(group->getBackend(c10::kHPU));
  EXPECT_EQ(backend->options()->values, FakeValues::kPyTorch);
  EXPECT_FALSE(backend->options()->checks);
  EXPECT_EQ(backend->options()->timeout, seconds(1));
  EXPECT_THAT([&] { new_group("fake", seconds(1), c10::kCPU, {{"value", "x"}}, place); },
              ThrowsMessage<UnknownOptionError>(HasSubstr("Unknown option value")));
  EXPECT_THAT([&] { new_group("fake", seconds(1), c10::kCPU, {{"checks", 3.0}}, place); },
              ThrowsMessage<UsageError>(HasSubstr("option checks of backend \"fake\" can't be")));
}

}  // namespace
}  // namespace polyrank::dist2
