#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_number.h>

#include <array>
#include <limits>
#include <vector>

namespace polyrank {
namespace {

LocalInt ints(const std::vector<std::int64_t>& value_of_rank) {
  const auto world_size = static_cast<std::int64_t>(value_of_rank.size());
  return {RankPartition::identity(RankSet::first(world_size)), value_of_rank};
}

std::vector<std::int64_t> by_rank(const LocalInt& number) {
  std::vector<std::int64_t> values;
  for (const std::int64_t rank : number.ranks()) {
    values.push_back(number.value(number.partition().cohort_of(rank)));
  }
  return values;
}

TEST(LocalNumber, MergesCohortsWithEqualValues) {
  const LocalInt number = ints({5, 7, 5, 5, 7, 9});
  EXPECT_EQ(number.partition().num_cohorts(), 3);
  EXPECT_EQ(by_rank(number), (std::vector<std::int64_t>{5, 7, 5, 5, 7, 9}));
  EXPECT_FALSE(number.is_uniform());
}

TEST(LocalNumber, KeepsThePartitionWhereAllValuesDiffer) {
  EXPECT_EQ(ints({3, 1, 2}).partition(), RankPartition::identity(RankSet::first(3)));
}

TEST(LocalNumber, IsUniformWhereAllValuesAreEqual) {
  EXPECT_TRUE(ints({4, 4, 4}).is_uniform());
  EXPECT_TRUE(ints({4}).is_uniform());
  EXPECT_EQ(ints({4, 4}).value(0), 4);
}

TEST(LocalNumber, MergesFloatsOnlyIfTheirBitsAreEqual) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::array values = {0.0, -0.0, nan, nan, 0.1 + 0.2, 0.3};
  const LocalFloat number(RankPartition::identity(RankSet::first(6)), values);
  EXPECT_EQ(number.partition().num_cohorts(), 5);
  EXPECT_EQ(number.partition().cohort_of(2), number.partition().cohort_of(3));
}

TEST(LocalNumber, NeedsOneValueACohortAndARank) {
  EXPECT_THROW(ints({}), UsageError);
  const std::array<std::int64_t, 1> one = {1};
  EXPECT_THROW(LocalInt(RankPartition::identity(RankSet::first(2)), one), UsageError);
}

TEST(LocalNumber, RestrictsToASubset) {
  const std::vector<std::int64_t> subset = {1, 3};
  EXPECT_EQ(by_rank(ints({5, 7, 5, 9}).restrict_to(RankSet::of(subset))),
            (std::vector<std::int64_t>{7, 9}));
  EXPECT_TRUE(ints({5, 7, 5, 7}).restrict_to(RankSet::of(subset)).is_uniform());
}

TEST(CommonPartition, RefinesBoth) {
  const RankPartition common =
      common_partition(ints({0, 0, 1, 1}).partition(), ints({0, 1, 0, 0}).partition());
  EXPECT_EQ(common, ints({0, 1, 2, 2}).partition());
}

TEST(CommonPartition, OfAConstantIsTheOther) {
  const RankPartition elsewhere = RankPartition::uniform(RankSet::range(7, 9));
  const RankPartition number = ints({0, 1, 1}).partition();
  EXPECT_EQ(common_partition(number, elsewhere), number);
  EXPECT_EQ(common_partition(elsewhere, number), number);
}

TEST(CommonPartition, OfNestedRanksLivesOnTheFewer) {
  const RankPartition all = ints({0, 1, 2, 2}).partition();
  const RankPartition inner = RankPartition::identity(RankSet::range(1, 4));
  EXPECT_EQ(common_partition(all, inner), inner);
  EXPECT_EQ(common_partition(inner, all), inner);
}

TEST(CommonPartition, OfUnrelatedRanksIsAnErrorThatNamesThem) {
  const RankPartition low = RankPartition::identity(RankSet::range(0, 3));
  const RankPartition high = RankPartition::identity(RankSet::range(2, 5));
  try {
    common_partition(low, high);
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("one over ranks 0-2, the other over ranks 2-4"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace polyrank
