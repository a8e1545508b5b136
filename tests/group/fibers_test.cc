#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/group/fibers.h>

#include <cstdint>
#include <set>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// The invariants of GroupFamily, and that all functions tell the same.
void check_fibers(const Fibers& fibers, std::int64_t num_ranks) {
  EXPECT_EQ(fibers.num_groups() * fibers.group_size(), num_ranks);
  EXPECT_EQ(fibers.ranks(), RankSet::first(num_ranks));
  std::set<std::int64_t> seen;
  std::int64_t lowest_before = -1;
  for (std::int64_t group = 0; group < fibers.num_groups(); ++group) {
    std::vector<std::int64_t> ranks;
    for (std::int64_t position = 0; position < fibers.group_size(); ++position) {
      ranks.push_back(fibers.member(group, position));
      EXPECT_TRUE(seen.insert(ranks.back()).second);
      EXPECT_EQ(fibers.place_of(ranks.back()),
                (GroupPlace{group, static_cast<std::int32_t>(position)}));
    }
    EXPECT_EQ(fibers.runs(group).to_vector(), ranks);
    EXPECT_LT(lowest_before, ranks.front());
    EXPECT_EQ(RankSet::of(ranks).min(), ranks.front());
    lowest_before = ranks.front();
  }
}

TEST(Fibers, TileAMesh) {
  // The mesh (2, 3, 4), its dimensions alone and flattened with each other.
  const std::vector<std::vector<LayoutDim>> all_dims = {
      {{4, 1}}, {{3, 4}}, {{2, 12}}, {{6, 4}}, {{2, 12}, {4, 1}}, {{4, 1}, {2, 12}}, {{24, 1}}, {}};
  for (const auto& dims : all_dims) {
    check_fibers(Fibers(dims, 24), 24);
  }
}

TEST(Fibers, TheLastDimensionVariesFastest) {
  const Fibers fibers({{2, 12}, {4, 1}}, 24);
  const GroupPlace place = fibers.place_of(17);
  EXPECT_EQ(fibers.runs(place.group).to_vector(),
            (std::vector<std::int64_t>{4, 5, 6, 7, 16, 17, 18, 19}));
  EXPECT_EQ(place.position, 5);
  EXPECT_NE(fibers.place_of(8).group, place.group);
}

TEST(Fibers, RanksOutsideOfTheMeshHaveNoGroup) {
  const Fibers fibers({{4, 1}}, 8);
  EXPECT_EQ(fibers.place_of(8), GroupPlace());
  EXPECT_EQ(fibers.place_of(-1), GroupPlace());
}

TEST(Fibers, AMillionRanksAreAFewNumbers) {
  const Fibers fibers({{131072, 8}}, 1 << 20);
  EXPECT_EQ(fibers.group_size(), 131072);
  const std::int64_t group = fibers.place_of(17).group;
  EXPECT_EQ(fibers.member(group, 131071), (1 << 20) - 7);
  EXPECT_EQ(fibers.runs(group).runs().size(), 1U);
}

TEST(Fibers, WhatDoesNotTileIsRefused) {
  EXPECT_THAT([] { Fibers({{4, 1}, {2, 2}}, 8); },
              ThrowsMessage<UsageError>(HasSubstr("overlaps")));
  EXPECT_THAT([] { Fibers({{4, 1}}, 6); }, ThrowsMessage<UsageError>(HasSubstr("do not tile")));
  EXPECT_THAT([] { Fibers({{0, 1}}, 6); }, ThrowsMessage<UsageError>(HasSubstr("overlaps")));
}

}  // namespace
}  // namespace polyrank
