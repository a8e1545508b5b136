#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/collectives.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/api/rank_functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_int_node.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

at::Tensor ranks_as_floats() {
  return rank_map([](std::int64_t rank) { return at::full({1}, static_cast<double>(rank)); });
}

TEST(LockstepWorld, FactoriesAndStreamsAreTheRanks) {
  LockstepWorld world(3);
  EXPECT_EQ(ranks_of(at::ones({2})), RankSet::first(3));
  world.manual_seed(7);
  EXPECT_EQ(num_cohorts(at::rand({2})), 1U);
  world.manual_seed(get_rank());
  EXPECT_EQ(num_cohorts(at::rand({2})), 3U);
}

TEST(LockstepWorld, ADeclaredFamilyRunsTogetherAndANewGroupAlone) {
  LockstepWorld world(4);
  const ProcessGroup pairs = world.new_subgroups_by_enumeration({{0, 2}, {3, 1}});
  const at::Tensor x = ranks_as_floats();
  all_reduce(x, {.group = pairs});
  EXPECT_THAT(values_on_rank(x, 2), ElementsAre(2));
  EXPECT_THAT(values_on_rank(x, 1), ElementsAre(4));
  const at::Tensor y = ranks_as_floats();
  all_reduce(y, {.group = world.new_group({0, 1})});
  EXPECT_THAT(values_on_rank(y, 0), ElementsAre(1));
  EXPECT_THAT(values_on_rank(y, 3), ElementsAre(3));
}

TEST(LockstepWorld, RanksKnowTheirPlaceInTheirGroup) {
  LockstepWorld world(4);
  const ProcessGroup pairs = world.new_subgroups_by_enumeration({{0, 2}, {3, 1}});
  EXPECT_EQ(get_world_size(), 4);
  EXPECT_EQ(get_world_size(pairs), 2);
  const c10::SymInt own = get_rank(pairs);
  const LocalIntNode* node = as_local_int(own);
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->value(node->partition().cohort_of(3)), 0);
  EXPECT_EQ(node->value(node->partition().cohort_of(1)), 1);
  const c10::SymInt in_part = get_rank(world.new_group({1}));
  EXPECT_EQ(as_local_int(in_part)->value(0), -1);
}

TEST(LockstepWorld, ThereIsOneAtATime) {
  EXPECT_THAT([] { group_or_world({}); },
              ThrowsMessage<UsageError>(HasSubstr("there is no world")));
  EXPECT_THAT([] { const LockstepWorld world(0); }, ThrowsMessage<UsageError>(HasSubstr("got 0")));
  {
    const LockstepWorld world(2);
    EXPECT_THAT([] { const LockstepWorld second(2); },
                ThrowsMessage<UsageError>(HasSubstr("a world of 2 ranks in this process already")));
  }
  LockstepWorld after(3);
  EXPECT_THAT([&] { after.new_group({0, 3}); },
              ThrowsMessage<UsageError>(HasSubstr("rank 3 is outside of the world")));
  EXPECT_THAT([&] { after.new_subgroups_by_enumeration({}); },
              ThrowsMessage<UsageError>(HasSubstr("at least one group")));
}

}  // namespace
}  // namespace polyrank
