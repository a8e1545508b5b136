#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/run_operator.h>
#include <polyrank/world/lockstep/lockstep_launch.h>

#include <memory>
#include <optional>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;

// Ranks 0 and 1, and ranks 2 and 3, which act together.
std::shared_ptr<const Group> pairs() {
  const std::vector<std::vector<std::int64_t>> groups{{0, 1}, {2, 3}};
  return std::make_shared<Group>("tp", "mesh_tp", RankRuns::of(groups.front()),
                                 GroupFamily::explicit_groups(groups));
}

CollectiveCall call_of(const char* op_name, const at::Tensor& input, const at::Tensor& output) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  call.group_name = "tp";
  call.units = {{.inputs = {input}, .outputs = {output}}};
  return call;
}

// Runs the one unit of a call, and gives the launch.
LockstepLaunch run(const CollectiveCall& call, const std::shared_ptr<const Group>& group) {
  LockstepLaunch launch(call, group);
  const BelowLockstepGuard below(/*has_python_tensors=*/false);
  const CohortKeysGuard keys(/*keep_python=*/false);
  launch.run(call.units[0]);
  return launch;
}

TEST(LockstepLaunch, ActsOnAllGroupsOfAFamily) {
  const at::Tensor x = local_tensor({{1, 2}, {3, 4}, {5, 6}, {7, 8}});
  const auto group = pairs();
  const CollectiveCall call = call_of("c10d::allreduce_", x, x);
  run(call, group);
  EXPECT_THAT(values_on_rank(x, 0), ElementsAre(4, 6));
  EXPECT_THAT(values_on_rank(x, 3), ElementsAre(12, 14));
  EXPECT_EQ(num_cohorts(x), 2U);  // the members of a group are one cohort again
}

TEST(LockstepLaunch, GroupsOfTheSameCohortsGetOneResult) {
  const RankPartition by_place =
      RankPartition::from_labels(RankSet::first(4), std::vector<std::int64_t>{0, 1, 0, 1});
  const at::Tensor x = make_local_tensor(by_place, {at::full({1}, 1.0), at::full({1}, 2.0)});
  const auto group = pairs();
  const CollectiveCall call = call_of("c10d::allreduce_", x, x);
  const LockstepLaunch launch = run(call, group);
  EXPECT_EQ(num_cohorts(x), 1U);
  EXPECT_THAT(values_on_rank(x, 2), ElementsAre(3));
  EXPECT_EQ(launch.record().num_groups, 2);
  EXPECT_EQ(launch.record().num_computed, 1);
}

TEST(LockstepLaunch, APartOfAStorageIsWrittenWithoutTheRest) {
  const at::Tensor whole = local_tensor({{1, 2}, {3, 4}, {5, 6}, {7, 8}});
  const at::Tensor part = whole.narrow(0, 1, 1);
  const auto group = pairs();
  const CollectiveCall call = call_of("c10d::allreduce_", part, part);
  run(call, group);
  EXPECT_THAT(values_on_rank(whole, 0), ElementsAre(1, 6));
  EXPECT_THAT(values_on_rank(whole, 1), ElementsAre(3, 6));
  EXPECT_EQ(num_cohorts(whole), 4U);
}

TEST(LockstepLaunch, OnlyTheRootOfAReduceGetsSomething) {
  const at::Tensor x = local_tensor({{1}, {2}, {3}, {4}});
  const auto group = pairs();
  CollectiveCall call = call_of("c10d::reduce_", x, x);
  call.root = 1;
  run(call, group);
  EXPECT_THAT(values_on_rank(x, 0), ElementsAre(1));
  EXPECT_THAT(values_on_rank(x, 1), ElementsAre(3));
  EXPECT_THAT(values_on_rank(x, 3), ElementsAre(7));
}

TEST(LockstepLaunch, FunctionalResultsAreNewTensors) {
  const at::Tensor x = local_tensor({{1}, {2}, {3}, {4}});
  const auto group = pairs();
  CollectiveCall call = call_of("_c10d_functional::all_gather_into_tensor", x, x);
  call.units[0].outputs.clear();
  LockstepLaunch launch = run(call, group);
  const std::vector<at::Tensor> results = launch.take_results();
  ASSERT_EQ(results.size(), 1U);
  EXPECT_THAT(values_on_rank(results[0], 1), ElementsAre(1, 2));
  EXPECT_THAT(values_on_rank(results[0], 2), ElementsAre(3, 4));
  EXPECT_EQ(num_cohorts(results[0]), 2U);
}

TEST(LockstepLaunch, TensorsOfOtherRanksAreRefused) {
  const auto group = pairs();
  const CollectiveCall call =
      call_of("c10d::allreduce_", local_tensor({{1}, {2}, {3}, {4}}), local_tensor({{1}, {2}}));
  EXPECT_THROW(run(call, group), UsageError);
}

}  // namespace
}  // namespace polyrank
