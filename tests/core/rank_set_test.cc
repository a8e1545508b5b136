#include <core/sample_partitions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <unordered_set>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Members = std::set<std::int64_t>;

RankSet set_of(const Members& members) {
  return RankSet::of(Ranks(members.begin(), members.end()));
}

// That `set` holds exactly `members`, asked in every way there is.
void check_set(const RankSet& set, const Members& members) {
  SCOPED_TRACE(set.to_string());
  const Ranks sorted(members.begin(), members.end());
  ASSERT_EQ(set.to_vector(), sorted);
  EXPECT_EQ(Ranks(set.begin(), set.end()), sorted);
  EXPECT_EQ(set.size(), static_cast<std::int64_t>(sorted.size()));
  EXPECT_EQ(set.empty(), sorted.empty());
  EXPECT_EQ(set, RankSet::of(sorted));
  EXPECT_EQ(set.hash(), RankSet::of(sorted).hash());
  const auto ranges = set.ranges();
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_LT(ranges[i].begin, ranges[i].end);  // invariant (1)
    if (i > 0) {
      EXPECT_LT(ranges[i - 1].end, ranges[i].begin);  // invariants (1) and (2)
    }
  }
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    EXPECT_EQ(set.rank_at(index), sorted[i]);
    EXPECT_EQ(set.index_of(sorted[i]), index);
  }
  EXPECT_THROW((void)set.rank_at(-1), UsageError);
  EXPECT_THROW((void)set.rank_at(set.size()), UsageError);
  const std::int64_t end = sorted.empty() ? 2 : sorted.back() + 2;
  for (std::int64_t rank = -1; rank <= end; ++rank) {
    EXPECT_EQ(set.contains(rank), members.contains(rank)) << rank;
    if (!members.contains(rank)) {
      EXPECT_THROW((void)set.index_of(rank), UsageError) << rank;
    }
  }
  if (sorted.empty()) {
    EXPECT_THROW((void)set.min(), UsageError);
    EXPECT_THROW((void)set.max(), UsageError);
  } else {
    EXPECT_EQ(set.min(), sorted.front());
    EXPECT_EQ(set.max(), sorted.back());
  }
}

// The laws of the set operations, by their numbers in rank_set.h.
void check_set_operations(const Members& a, const Members& b) {
  const RankSet set_a = set_of(a);
  const RankSet set_b = set_of(b);
  Members expected;
  std::ranges::set_union(a, b, std::inserter(expected, expected.end()));
  check_set(set_a.unite(set_b), expected);  // (1)
  expected.clear();
  std::ranges::set_intersection(a, b, std::inserter(expected, expected.end()));
  check_set(set_a.intersect(set_b), expected);  // (2)
  expected.clear();
  std::ranges::set_difference(a, b, std::inserter(expected, expected.end()));
  check_set(set_a.subtract(set_b), expected);                         // (3)
  EXPECT_EQ(set_a.is_subset_of(set_b), std::ranges::includes(b, a));  // (4)
  EXPECT_EQ(set_a == set_b, a == b);
}

Members members_of_bits(unsigned bits) {
  Members members;
  for (std::int64_t rank = 0; bits != 0; ++rank, bits >>= 1U) {
    if ((bits & 1U) != 0) {
      members.insert(rank);
    }
  }
  return members;
}

TEST(RankSet, OperationsOnAllPairsOfSetsOfSixRanks) {
  for (unsigned a = 0; a < 64; ++a) {
    for (unsigned b = 0; b < 64; ++b) {
      check_set_operations(members_of_bits(a), members_of_bits(b));
    }
  }
}

TEST(RankSet, OperationsOnRandomSets) {
  Random random(11);
  for (int round = 0; round < 60; ++round) {
    const std::int64_t world_size = random.between(7, 2000);
    const auto sample = [&] {
      Members members;
      while (static_cast<std::int64_t>(members.size()) < world_size / 3) {
        const std::int64_t begin = random.below(world_size);
        const std::int64_t length = random.between(1, round % 2 == 0 ? 1 : 1 + world_size / 8);
        for (std::int64_t i = 0; i < length; ++i) {
          members.insert(begin + i);
        }
      }
      return members;
    };
    const Members a = sample();
    check_set_operations(a, sample());
    check_set_operations(a, a);
    check_set_operations(a, {});
  }
}

TEST(RankSet, OfTakesRanksInAnyOrderAndRepeated) {
  check_set(RankSet::of(Ranks{6, 1, 0, 3, 2, 1, 6}), {0, 1, 2, 3, 6});
  check_set(RankSet::of({}), {});
  EXPECT_THAT(RankSet::of(Ranks{4, 5, 0}).ranges(), ElementsAre(RankRange{0, 1}, RankRange{4, 6}));
}

TEST(RankSet, RangeAndFirst) {
  check_set(RankSet::range(2, 5), {2, 3, 4});
  check_set(RankSet::range(5, 2), {});
  check_set(RankSet::range(-3, -3), {});
  check_set(RankSet::first(1), {0});
  check_set(RankSet::first(0), {});
  check_set(RankSet(), {});
}

TEST(RankSet, AMillionRanksAreOneRange) {
  const RankSet world = RankSet::first(std::int64_t{1} << 20);
  EXPECT_EQ(world.ranges().size(), 1U);
  EXPECT_EQ(world.size(), 1048576);
  EXPECT_EQ(world.rank_at(1048575), 1048575);
  EXPECT_TRUE(RankSet::range(17, 1048576).is_subset_of(world));
}

TEST(RankSet, EqualSetsHashEqualHoweverMade) {
  const RankSet made_by_union = RankSet::range(0, 3).unite(RankSet::range(3, 6));
  EXPECT_EQ(made_by_union, RankSet::first(6));
  EXPECT_EQ(made_by_union.hash(), RankSet::first(6).hash());
  const std::unordered_set<RankSet> sets{RankSet::first(6), made_by_union, RankSet()};
  EXPECT_EQ(sets.size(), 2U);
}

TEST(RankSet, EqualIdsMeanEqualSets) {
  const RankSet set = RankSet::first(3);
  const std::vector<RankSet> copies(2, set);
  EXPECT_EQ(copies.back().id(), set.id());
  EXPECT_EQ(copies.back(), set);
  EXPECT_NE(RankSet::first(4).id(), set.id());
}

TEST(RankSet, IteratorIsForward) {
  static_assert(std::forward_iterator<RankSet::Iterator>);
  const RankSet set = RankSet::of(Ranks{0, 1, 4});
  auto iterator = set.begin();
  EXPECT_EQ(*iterator++, 0);
  EXPECT_EQ(*iterator, 1);
  EXPECT_EQ(*++iterator, 4);
  EXPECT_EQ(++iterator, set.end());
}

TEST(RankSet, TextShowsRangesAndAbbreviates) {
  const RankSet set = RankSet::of(Ranks{0, 1, 2, 3, 6, 8, 9});
  EXPECT_EQ(set.to_string(), "0-3,6,8-9");
  EXPECT_EQ(set.to_string(3), "0-3,6,8-9");
  EXPECT_EQ(set.to_string(2), "0-3,6,… (7 ranks)");
  EXPECT_EQ(RankSet().to_string(), "");
  EXPECT_EQ(RankSet::first(1).to_string(), "0");
}

TEST(RankSet, ErrorsNameTheRank) {
  const RankSet set = RankSet::of(Ranks{0, 1, 2, 3, 6});
  EXPECT_THAT([&] { (void)set.index_of(5); },
              ThrowsMessage<UsageError>(HasSubstr("rank 5 is not among ranks 0-3,6")));
  EXPECT_THAT([&] { (void)set.rank_at(5); },
              ThrowsMessage<UsageError>(HasSubstr("position 5 of ranks 0-3,6; valid: 0..4")));
  EXPECT_THAT([] { (void)RankSet::of(Ranks{3, -2}); },
              ThrowsMessage<UsageError>(HasSubstr("got rank -2")));
  EXPECT_THAT([] { (void)RankSet::range(-1, 2); },
              ThrowsMessage<UsageError>(HasSubstr("got rank -1")));
}

}  // namespace
}  // namespace polyrank
