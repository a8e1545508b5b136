#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/group_members.h>

#include <cstdint>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// All laws, for each rank that has a group.
void check_members(const GroupMembers& members, std::int64_t num_ranks) {
  for (std::int64_t own = 0; own < num_ranks; ++own) {
    if (!members.has_group(own)) {
      continue;
    }
    std::vector<std::int64_t> ranks;
    for (std::int64_t i = 0; i < members.size(); ++i) {
      ranks.push_back(members.member(i, own));
      EXPECT_EQ(members.position_of(ranks.back(), own), i);  // (1)
    }
    EXPECT_EQ(members.runs(own).to_vector(), ranks);
    for (std::int64_t other = 0; other < num_ranks; ++other) {
      const bool sees_other = members.position_of(other, own) >= 0;
      // (2), asked the other way round. NOLINTNEXTLINE(readability-suspicious-call-argument)
      EXPECT_EQ(members.position_of(own, other) >= 0, sees_other);
    }
  }
}

TEST(GroupMembers, FibersAreWhatEachRankOfAMeshSees) {
  // The mesh (2, 3, 4), its dimensions alone and flattened with each other.
  const std::vector<std::vector<LayoutDim>> all_dims = {
      {{4, 1}}, {{3, 4}}, {{2, 12}}, {{6, 4}}, {{2, 12}, {4, 1}}, {{4, 1}, {2, 12}}, {{24, 1}}, {}};
  for (const auto& dims : all_dims) {
    check_members(GroupMembers::fibers(dims, 24), 24);
  }
}

TEST(GroupMembers, TheLastDimensionVariesFastest) {
  const GroupMembers members = GroupMembers::fibers({{2, 12}, {4, 1}}, 24);
  EXPECT_EQ(members.runs(5).to_vector(), (std::vector<std::int64_t>{4, 5, 6, 7, 16, 17, 18, 19}));
  EXPECT_EQ(members.position_of(17, 5), 5);
  EXPECT_EQ(members.position_of(8, 5), -1);
}

TEST(GroupMembers, AListIsOneGroupInItsOrder) {
  const GroupMembers members = GroupMembers::listed({5, 2, 9});
  check_members(members, 12);
  EXPECT_EQ(members.position_of(9, 2), 2);
  EXPECT_FALSE(members.has_group(3));
  EXPECT_EQ(members.position_of(5, 3), -1);
}

TEST(GroupMembers, RanksOutsideOfTheMeshHaveNoGroup) {
  const GroupMembers members = GroupMembers::fibers({{4, 1}}, 8);
  EXPECT_FALSE(members.has_group(8));
  EXPECT_FALSE(members.has_group(-1));
  EXPECT_EQ(members.position_of(8, 0), -1);
}

TEST(GroupMembers, AMillionRanksAreAFewNumbers) {
  const GroupMembers members = GroupMembers::fibers({{131072, 8}}, 1 << 20);
  EXPECT_EQ(members.size(), 131072);
  EXPECT_EQ(members.member(131071, 17), (1 << 20) - 7);
  EXPECT_EQ(members.runs(17).runs().size(), 1U);
}

TEST(GroupMembers, WhatIsNoGroupIsRefused) {
  EXPECT_THAT([] { GroupMembers::listed({}); },
              ThrowsMessage<UsageError>(HasSubstr("at least one rank")));
  EXPECT_THAT([] { GroupMembers::listed({1, 2, 1}); },
              ThrowsMessage<UsageError>(HasSubstr("rank 1 of a process group is repeated")));
  EXPECT_THAT([] { GroupMembers::listed({-1}); }, ThrowsMessage<UsageError>(HasSubstr("negative")));
  EXPECT_THAT([] { GroupMembers::fibers({{4, 1}, {2, 2}}, 8); },
              ThrowsMessage<UsageError>(HasSubstr("overlaps")));
  EXPECT_THAT([] { GroupMembers::fibers({{4, 1}}, 6); },
              ThrowsMessage<UsageError>(HasSubstr("do not tile")));
  EXPECT_THAT([] { GroupMembers::fibers({{0, 1}}, 6); },
              ThrowsMessage<UsageError>(HasSubstr("overlaps")));
}

}  // namespace
}  // namespace polyrank
