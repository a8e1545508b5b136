#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_int_node.h>

#include <array>
#include <vector>

namespace polyrank {
namespace {

using Int = std::int64_t;

const RankPartition& halves() {
  static const RankPartition partition =
      RankPartition::from_labels(RankSet::first(4), std::vector<Int>{0, 0, 1, 1});
  return partition;
}

c10::SymInt rank_of_4() {
  return make_local_int(RankPartition::identity(RankSet::first(4)), std::vector<Int>{0, 1, 2, 3});
}

TEST(LocalIntNode, HoldsOneValueACohort) {
  const c10::SymInt number = make_local_int(halves(), std::vector<Int>{5, 7});
  const LocalIntNode* node = as_local_int(number);
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->partition(), halves());
  EXPECT_EQ(node->value(0), 5);
  EXPECT_EQ(node->value(1), 7);
  EXPECT_FALSE(number.maybe_as_int().has_value());
}

TEST(LocalIntNode, EqualValuesAreAPlainNumber) {
  EXPECT_EQ(make_local_int(halves(), std::vector<Int>{5, 5}).maybe_as_int(), 5);
  EXPECT_EQ(as_local_int(make_local_int(halves(), std::vector<Int>{5, 5})), nullptr);
  EXPECT_EQ(make_local_float(halves(), std::vector{0.5, 0.5}).expect_float(), 0.5);
  EXPECT_EQ(make_local_bool(halves(), std::array{true, true}).maybe_as_bool(), true);
  EXPECT_EQ(as_local_int(c10::SymInt(5)), nullptr);
  EXPECT_EQ(as_local_float(c10::SymFloat(0.5)), nullptr);
  EXPECT_EQ(as_local_bool(c10::SymBool(true)), nullptr);
  EXPECT_EQ(make_local_int(halves(), std::vector<Int>(2, Int{1} << 63)).maybe_as_int(),
            Int{1} << 63);
}

TEST(LocalIntNode, FloatsAndBoolsHaveTheirOwn) {
  const c10::SymFloat number = make_local_float(halves(), std::vector{0.5, 1.5});
  ASSERT_NE(as_local_float(number), nullptr);
  EXPECT_EQ(as_local_float(number)->value(1), 1.5);
  const c10::SymBool flag = make_local_bool(halves(), std::array{true, false});
  ASSERT_NE(as_local_bool(flag), nullptr);
  EXPECT_TRUE(as_local_bool(flag)->value(0));
}

TEST(LocalIntNode, NeedsOneValueACohort) {
  EXPECT_THROW(make_local_int(halves(), std::vector<Int>{5}), UsageError);
  EXPECT_THROW(make_local_int(RankPartition(), std::vector<Int>{}), UsageError);
}

TEST(LocalIntNode, SymIntOperatorsOfCpp) {
  const c10::SymInt rank = rank_of_4();
  EXPECT_EQ(as_local_int(rank * 2 + 1)->value(3), 7);
  EXPECT_EQ(as_local_int(10 - rank)->value(3), 7);
  EXPECT_EQ(as_local_int(7 / (rank + 1))->value(2), 2);
  EXPECT_EQ(as_local_int((rank - 4) % 3)->value(1), 0);
  EXPECT_EQ(as_local_int(-rank)->value(2), -2);
  EXPECT_EQ(as_local_int(rank.max(2))->partition().num_cohorts(), 2);
  EXPECT_EQ(rank.min(0).maybe_as_int(), 0);
  EXPECT_EQ((rank - rank).maybe_as_int(), 0);
  EXPECT_EQ(as_local_int(rank.clone())->value(3), 3);
  EXPECT_THROW(rank.guard_int(__FILE__, __LINE__), DivergenceError);
  EXPECT_THROW(rank / rank, DivergenceError);  // on rank 0 alone
  EXPECT_THROW(rank / (rank - rank), DivisionByZeroError);
}

TEST(LocalIntNode, SymIntComparisonsOfCppMeanAllRanks) {
  const c10::SymInt rank = rank_of_4();
  EXPECT_TRUE(rank == rank);
  EXPECT_FALSE(rank == 0);
  EXPECT_TRUE(rank != 0);
  EXPECT_TRUE(rank < 4);
  EXPECT_TRUE(rank >= 0);
  EXPECT_THROW(static_cast<void>(rank < 2), DivergenceError);
}

TEST(LocalIntNode, SymFloatAndSymBoolOperatorsOfCpp) {
  const c10::SymFloat number = make_local_float(halves(), std::vector{0.5, 1.5});
  EXPECT_EQ(as_local_float(number * 2.0 + number)->value(1), 4.5);
  EXPECT_EQ(as_local_float(number - number)->value(0), 0.0);
  EXPECT_EQ((number / number).guard_float(__FILE__, __LINE__), 1.0);
  EXPECT_TRUE(number < 2.0);
  const c10::SymBool flag = make_local_bool(halves(), std::array{true, false});
  EXPECT_EQ(as_local_bool(~flag)->value(0), false);
  EXPECT_EQ((flag | ~flag).maybe_as_bool(), true);
  EXPECT_EQ((flag & false).maybe_as_bool(), false);
  EXPECT_THROW(flag.guard_bool(__FILE__, __LINE__), DivergenceError);
}

}  // namespace
}  // namespace polyrank
