#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/group/listed_groups.h>

#include <cstdint>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Ranks = std::vector<std::int64_t>;
using Groups = std::vector<Ranks>;

TEST(ListedGroups, AreSortedByTheirLowestRankAndKeepTheirOrder) {
  const ListedGroups groups(Groups{{9, 4, 6}, {2, 8, 0}});
  EXPECT_EQ(groups.num_groups(), 2);
  EXPECT_EQ(groups.group_size(), 3);
  EXPECT_THAT(groups.members(0), ElementsAre(2, 8, 0));
  EXPECT_THAT(groups.members(1), ElementsAre(9, 4, 6));
  EXPECT_EQ(groups.ranks().to_string(), "0,2,4,6,8-9");
  EXPECT_EQ(groups.runs(1).to_vector(), (Ranks{9, 4, 6}));
}

TEST(ListedGroups, APlaceIsThatOfTheMember) {
  const ListedGroups groups(Groups{{9, 4, 6}, {2, 8, 0}});
  for (std::int64_t group = 0; group < groups.num_groups(); ++group) {
    for (std::int64_t position = 0; position < groups.group_size(); ++position) {
      EXPECT_EQ(groups.place_of(groups.member(group, position)),
                (GroupPlace{group, static_cast<std::int32_t>(position)}));
    }
  }
  for (const std::int64_t rank : {-1, 1, 3, 10}) {
    EXPECT_EQ(groups.place_of(rank), GroupPlace());
  }
}

TEST(ListedGroups, AreOrderedByContent) {
  const ListedGroups pairs(Groups{{0, 1}, {2, 3}});
  const ListedGroups strided(Groups{{0, 2}, {1, 3}});
  const ListedGroups whole(Groups{{0, 1, 2, 3}});
  EXPECT_TRUE(pairs < strided && !(strided < pairs));
  EXPECT_TRUE(pairs < whole && !(whole < pairs));
  EXPECT_FALSE(pairs < ListedGroups(Groups{{2, 3}, {0, 1}}));
}

TEST(ListedGroups, WhatIsNoFamilyIsRefused) {
  EXPECT_THAT([] { ListedGroups(Groups{{}}); },
              ThrowsMessage<UsageError>(HasSubstr("at least one rank")));
  EXPECT_THAT([] { ListedGroups(Groups{{0, 1}, {1, 2}}); },
              ThrowsMessage<UsageError>(HasSubstr("disjoint")));
}

}  // namespace
}  // namespace polyrank
