#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/lockstep/lockstep_checks.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Ranks 0 and 1, and ranks 2 and 3, which act together.
Group pairs() {
  const std::vector<std::vector<std::int64_t>> groups{{0, 1}, {2, 3}};
  return {"tp", "mesh_tp", RankRuns::of(groups.front()), GroupFamily::explicit_groups(groups)};
}

CollectiveCall all_reduce(const at::Tensor& tensor) {
  CollectiveCall call;
  call.spec = find_collective("c10d::allreduce_");
  call.units = {{.inputs = {tensor}, .outputs = {tensor}}};
  return call;
}

TEST(LockstepChecks, WhatAllRanksHoldAlikeIsCheckedOnce) {
  check_members(all_reduce(local_tensor({{1, 2}, {3, 4}, {5, 6}, {7, 8}})), pairs());
  CollectiveCall broadcast = all_reduce(replicated({1, 2}, 4));
  broadcast.spec = find_collective("c10d::broadcast_");
  broadcast.root = 2;
  EXPECT_THAT([&] { check_members(broadcast, pairs()); },
              ThrowsMessage<CollectiveError>(
                  HasSubstr("group \"mesh_tp\" (ranks 0-1), rank 0: broadcast names the root 2")));
}

TEST(LockstepChecks, ShapesThatDifferWithinAGroupAreAMismatch) {
  check_members(all_reduce(local_tensor({{1}, {3}, {5, 6}, {7, 8}})), pairs());  // not within one
  EXPECT_THAT([&] { check_members(all_reduce(local_tensor({{1}, {3}, {5, 6}, {7}})), pairs()); },
              ThrowsMessage<CollectiveMismatchError>(
                  AllOf(HasSubstr("group \"mesh_tp\" (ranks 2-3), launch #0: ranks disagree."),
                        HasSubstr("rank 2: all_reduce(sum) float32[2]"),
                        HasSubstr("rank 3: all_reduce(sum) float32[1]"))));
}

TEST(LockstepChecks, ARankWithoutTheTensorDoesNotCome) {
  CollectiveCall call = all_reduce(local_tensor({{1}, {3}, {5}, {7}}));
  call.only_rank = 1;
  check_members(call, pairs());
}

}  // namespace
}  // namespace polyrank
