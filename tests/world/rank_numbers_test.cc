#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/exchange/rank_operand.h>
#include <polyrank/world/rank_numbers.h>

#include <cstdint>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<std::int64_t> on_ranks(const c10::SymInt& number, const RankSet& ranks) {
  std::vector<std::int64_t> values;
  for (const std::int64_t rank : ranks) {
    values.push_back(number_on_rank(number, rank));
  }
  return values;
}

GroupFamily family_of(const std::vector<std::vector<std::int64_t>>& groups) {
  return GroupFamily::explicit_groups(groups);
}

TEST(RankNumbers, EachRankIsItself) {
  const RankSet ranks = RankSet::of(std::vector<std::int64_t>{2, 5, 9});
  EXPECT_THAT(on_ranks(own_ranks(ranks), ranks), ElementsAre(2, 5, 9));
  EXPECT_EQ(own_ranks(RankSet::range(7, 8)).maybe_as_int(), 7);  // one rank: a plain int
}

TEST(RankNumbers, PlacesFollowTheOrderOfTheGroup) {
  const RankSet ranks = RankSet::first(5);
  const GroupFamily family = family_of({{2, 0}, {1, 3}});
  EXPECT_THAT(on_ranks(own_group_ranks(family, ranks), ranks), ElementsAre(1, 0, 0, 1, -1));
}

TEST(RankNumbers, ARankInNoGroupHasNoSize) {
  const RankSet ranks = RankSet::first(5);
  EXPECT_THAT(on_ranks(own_group_sizes(family_of({{2, 0}, {1, 3}}), ranks), ranks),
              ElementsAre(2, 2, 2, 2, -1));
  EXPECT_EQ(own_group_sizes(family_of({{2, 0}, {1, 3}}), RankSet::first(4)).maybe_as_int(), 2);
}

TEST(RankNumbers, TheAnswerIsMadeOnceForEachQuestion) {
  const RankSet ranks = RankSet::first(1 << 20);
  const auto node = [](const c10::SymInt& number) { return number.toSymNodeImplUnowned(); };
  EXPECT_EQ(node(own_ranks(ranks)), node(own_ranks(ranks)));
  const GroupFamily family = family_of({{0, 1}, {2, 3}});
  EXPECT_EQ(node(own_group_ranks(family, ranks)), node(own_group_ranks(family, ranks)));
  EXPECT_NE(node(own_group_ranks(family, ranks)),
            node(own_group_ranks(family_of({{1, 0}, {2, 3}}), ranks)));
  EXPECT_NE(node(own_ranks(ranks)), node(own_ranks(RankSet::first(8))));
}

TEST(RankNumbers, GroupRanksAndGlobalRanksAreInverse) {
  const RankSet ranks = RankSet::first(4);
  const GroupFamily family = family_of({{2, 0}, {1, 3}});
  const c10::SymInt places = own_group_ranks(family, ranks);
  EXPECT_THAT(on_ranks(global_ranks_of(family, ranks, places), ranks), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(on_ranks(group_ranks_of(family, ranks, own_ranks(ranks)), ranks),
              ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(on_ranks(global_ranks_of(family, ranks, 0), ranks), ElementsAre(2, 1, 2, 1));
}

TEST(RankNumbers, WhatIsNotInTheGroupIsRefused) {
  const RankSet ranks = RankSet::first(4);
  const GroupFamily family = family_of({{0, 1}, {2, 3}});
  EXPECT_THAT([&] { group_ranks_of(family, ranks, 2); },
              ThrowsMessage<DivergenceError>(
                  HasSubstr("on ranks 0-1 there is no such rank, and there is on ranks 2-3: rank 2 "
                            "is not in the group of the ranks 0-1")));
  EXPECT_THAT([&] { group_ranks_of(family, ranks, 9); },
              ThrowsMessage<UsageError>(HasSubstr("rank 9 is not in the group of the ranks 0-1")));
  EXPECT_THAT([&] { global_ranks_of(family, ranks, 2); },
              ThrowsMessage<UsageError>(
                  HasSubstr("the group of the ranks 0-1 has no group rank 2; valid: 0..1")));
}

}  // namespace
}  // namespace polyrank
