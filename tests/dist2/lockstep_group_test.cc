#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/collectives.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/api/rank_functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/lockstep_group.h>
#include <polyrank/dist2/process_groups.h>
#include <polyrank/engine/local_int_node.h>

#include <chrono>

namespace polyrank::dist2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

c10::intrusive_ptr<LockstepGroup> all_ranks() {
  const auto group = new_group("lockstep", std::chrono::seconds(1), c10::kCPU);
  return c10::dynamic_intrusive_pointer_cast<LockstepGroup>(group);
}

std::vector<at::Tensor> ranks_as_floats() {
  return {rank_map([](std::int64_t rank) { return at::full({1}, static_cast<double>(rank)); })};
}

TEST(LockstepGroup, RunsOnAllRanks) {
  const LockstepWorld world(4);
  const auto group = all_ranks();
  auto x = ranks_as_floats();
  group->allreduce(x)->wait();
  group->barrier()->wait();
  EXPECT_THAT(values_on_rank(x.front(), 3), ElementsAre(6));
  EXPECT_EQ(as_local_int(group->rank_of_each())->value(2), 2);
}

TEST(LockstepGroup, IsSplitByWhatEachRankSays) {
  const LockstepWorld world(4);
  const auto group = all_ranks();
  const c10::SymInt first = group->rank_of_each() % c10::SymInt(2);
  const ProcessGroup part = group->split({first, first + 2}, "");
  auto x = ranks_as_floats();
  part->allreduce(x)->wait();
  EXPECT_THAT(values_on_rank(x.front(), 2), ElementsAre(2));
  EXPECT_THAT(values_on_rank(x.front(), 1), ElementsAre(4));
}

TEST(LockstepGroup, OnePartAloneLeavesTheOthersWhatTheyHave) {
  const LockstepWorld world(4);
  const ProcessGroup part = all_ranks()->splitGroup({0, 1}, std::nullopt, std::nullopt,
                                                    std::nullopt, std::nullopt, std::nullopt);
  auto x = ranks_as_floats();
  part->allreduce(x)->wait();
  EXPECT_THAT(values_on_rank(x.front(), 0), ElementsAre(1));
  EXPECT_THAT(values_on_rank(x.front(), 3), ElementsAre(3));
}

TEST(LockstepGroup, PartsMustBeOfTheGroupAndNotOverlap) {
  const LockstepWorld world(3);
  const auto group = all_ranks();
  EXPECT_THAT([&] { group->split({}, ""); }, ThrowsMessage<UsageError>(HasSubstr("no ranks")));
  EXPECT_THAT([&] { group->split({3}, ""); }, ThrowsMessage<UsageError>(HasSubstr("with rank 3;")));
  EXPECT_THAT([&] { group->split({1, 1}, ""); },
              ThrowsMessage<UsageError>(HasSubstr("with rank 1 twice")));
  const c10::SymInt rank = group->rank_of_each();
  EXPECT_THAT([&] { group->split({rank, (rank + 1) % c10::SymInt(3)}, ""); },
              ThrowsMessage<CollectiveError>(HasSubstr("both have rank")));
  EXPECT_EQ(group->split({(rank + 1) % c10::SymInt(3)}, ""), ProcessGroup());
}

TEST(LockstepGroup, AfterShutdownACollectiveIsAnError) {
  const LockstepWorld world(2);
  const auto group = all_ranks();
  group->shutdown();
  auto x = ranks_as_floats();
  EXPECT_THAT([&] { group->allreduce(x); },
              ThrowsMessage<CollectiveError>(HasSubstr("used after it was shut down")));
  EXPECT_NO_THROW(all_ranks()->allreduce(x));
}

TEST(LockstepGroup, IsNotMerged) {
  const LockstepWorld world(2);
  EXPECT_THAT([&] { all_ranks()->mergeRemoteGroup({}, c10d::ProcessGroup::MergeOptions(), 2); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("in lockstep")));
}

TEST(LockstepGroup, OutsideOfTheWorldNothingIsRun) {
  ProcessGroup group;
  {
    const LockstepWorld world(2);
    group = all_ranks();
  }
  std::vector<at::Tensor> x{at::ones({1})};
  EXPECT_THAT([&] { group->allreduce(x); },
              ThrowsMessage<UsageError>(HasSubstr("whose mode is not on")));
}

}  // namespace
}  // namespace polyrank::dist2
