#include <core/sample_partitions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_number_ops.h>

#include <array>
#include <functional>
#include <optional>
#include <vector>

namespace polyrank {
namespace {

using testing::StartsWith;

using Int = std::int64_t;

LocalInt ints(const std::vector<Int>& value_of_rank) {
  const auto world_size = static_cast<Int>(value_of_rank.size());
  return {RankPartition::identity(RankSet::first(world_size)), value_of_rank};
}

LocalFloat floats(const std::vector<double>& value_of_rank) {
  const auto world_size = static_cast<Int>(value_of_rank.size());
  return {RankPartition::identity(RankSet::first(world_size)), value_of_rank};
}

template <typename T>
std::vector<T> by_rank(const AnyNumber& any) {
  const auto& number = std::get<LocalNumber<T>>(any);
  std::vector<T> values;
  for (const Int rank : number.ranks()) {
    values.push_back(number.value(number.partition().cohort_of(rank)));
  }
  return values;
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The law of apply(), for operations on ints: (1) and (2) of its header.
void check_binary(BinaryOp op, const std::vector<Int>& a, const std::vector<Int>& b,
                  const std::function<Int(Int, Int)>& naive) {
  const AnyNumber result = apply(op, ints(a), ints(b));
  std::vector<Int> expected;
  expected.reserve(a.size());
  for (std::size_t rank = 0; rank < a.size(); ++rank) {
    expected.push_back(naive(a[rank], b[rank]));
  }
  EXPECT_EQ(by_rank<Int>(result), expected);                    // (1)
  EXPECT_EQ(partition_of(result), ints(expected).partition());  // (2)
}

TEST(LocalNumberOps, ComputeWhatEachRankWould) {
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    const Int world_size = random.between(1, 6);
    std::vector<Int> a;
    std::vector<Int> b;
    for (Int rank = 0; rank < world_size; ++rank) {
      a.push_back(random.between(-4, 4));
      b.push_back(random.between(1, 3));
    }
    check_binary(BinaryOp::kAdd, a, b, [](Int x, Int y) { return x + y; });
    check_binary(BinaryOp::kSub, a, b, [](Int x, Int y) { return x - y; });
    check_binary(BinaryOp::kMul, a, b, [](Int x, Int y) { return x * y; });
    check_binary(BinaryOp::kMod, a, b, [](Int x, Int y) { return ((x % y) + y) % y; });
    check_binary(BinaryOp::kMin, a, b, [](Int x, Int y) { return x < y ? x : y; });
    check_binary(BinaryOp::kBitwiseXor, a, b, [](Int x, Int y) { return x ^ y; });
  }
}

TEST(LocalNumberOps, PromoteKindsAsPythonDoes) {
  const AnyNumber number = ints({1, 2});
  const AnyNumber half = LocalFloat::uniform(RankSet::first(2), 0.5);
  const AnyNumber yes = LocalBool::uniform(RankSet::first(2), true);
  EXPECT_EQ(by_rank<double>(apply(BinaryOp::kAdd, number, half)), (std::vector{1.5, 2.5}));
  EXPECT_EQ(by_rank<Int>(apply(BinaryOp::kAdd, number, yes)), (std::vector<Int>{2, 3}));
  EXPECT_EQ(by_rank<Int>(apply(BinaryOp::kAdd, yes, yes)), (std::vector<Int>{2, 2}));
  EXPECT_EQ(by_rank<bool>(apply(BinaryOp::kBitwiseXor, yes, yes)), (std::vector{false, false}));
  EXPECT_EQ(by_rank<Int>(apply(BinaryOp::kBitwiseAnd, number, yes)), (std::vector<Int>{1, 0}));
  EXPECT_EQ(by_rank<double>(apply(BinaryOp::kTrueDiv, number, number)), (std::vector{1.0, 1.0}));
  EXPECT_EQ(by_rank<double>(apply(BinaryOp::kFloatPow, number, number)), (std::vector{1.0, 4.0}));
  EXPECT_EQ(by_rank<Int>(apply(UnaryOp::kNeg, yes)), (std::vector<Int>{-1, -1}));
  EXPECT_EQ(by_rank<bool>(apply(UnaryOp::kNot, number)), (std::vector{false, false}));
  EXPECT_EQ(by_rank<double>(apply(UnaryOp::kSqrt, ints({4, 9}))), (std::vector{2.0, 3.0}));
  EXPECT_EQ(by_rank<Int>(apply(UnaryOp::kFloor, floats({-0.5, 1.5}))), (std::vector<Int>{-1, 1}));
}

TEST(LocalNumberOps, CompareCohortByCohort) {
  EXPECT_EQ(by_rank<bool>(compare(CompareOp::kLt, ints({1, 2, 3}), ints({2, 2, 2}))),
            (std::vector{true, false, false}));
  EXPECT_TRUE(compare(CompareOp::kNe, ints({1, 2}), ints({3, 4})).is_uniform());
  EXPECT_EQ(by_rank<bool>(compare(CompareOp::kEq, ints({1, 2}), floats({1.0, 2.5}))),
            (std::vector{true, false}));
}

TEST(LocalNumberOps, SelectByRank) {
  const std::array condition = {true, false, true};
  const LocalBool first_or_last(RankPartition::identity(RankSet::first(3)), condition);
  EXPECT_EQ(by_rank<Int>(select(first_or_last, ints({1, 2, 3}), ints({4, 5, 6}))),
            (std::vector<Int>{1, 5, 3}));
  EXPECT_EQ(by_rank<double>(select(first_or_last, ints({1, 2, 3}), floats({4, 5, 6}))),
            (std::vector{1.0, 5.0, 3.0}));
}

TEST(LocalNumberOps, RoundToDigits) {
  EXPECT_EQ(by_rank<double>(round_to_digits(floats({0.125, 1.0}), 1)), (std::vector{0.1, 1.0}));
  EXPECT_EQ(by_rank<Int>(round_to_digits(ints({5, 6}), 1)), (std::vector<Int>{5, 6}));
  EXPECT_THROW(round_to_digits(floats({0.5, 1.0}), -1), UnsupportedOpError);
}

TEST(LocalNumberOps, NameTheRanksAndTheOperandsThatHaveNoResult) {
  const AnyNumber seven = LocalInt::uniform(RankSet::first(4), 7);
  EXPECT_THAT(error_of([&] { apply(BinaryOp::kFloorDiv, seven, ints({1, 0, 0, 2})); }),
              StartsWith("division by zero on ranks 1-2: 7 // 0. Other ranks have no such error."));
  EXPECT_THAT(error_of([&] { apply(BinaryOp::kMod, ints({1, 2, 3, 4}), ints({1, 0, 1, 0})); }),
              StartsWith("division by zero on ranks 1,3: 2 % 0 on rank 1. Other ranks"));
  EXPECT_EQ(error_of([&] { apply(BinaryOp::kMod, ints({1, 2}), ints({0, 0})); }),
            "division by zero on ranks 0-1: 1 % 0 on rank 0.");
  EXPECT_EQ(error_of([&] { apply(BinaryOp::kMul, ints({1, Int{1} << 62}), ints({3, 4})); }),
            "the result does not fit into 64 bits on rank 1: 4611686018427387904 * 4.");
  EXPECT_THAT(error_of([&] { apply(UnaryOp::kSqrt, ints({4, -9})); }),
              StartsWith("math domain error on rank 1: math.sqrt(-9.0). Other ranks"));
  EXPECT_EQ(error_of([&] { apply(BinaryOp::kBitwiseAnd, ints({1, 2}), floats({1, 2})); }),
            "`&` has no meaning for floats: LocalIntNode({0: 1, 1: 2}) & LocalFloatNode({0: 1.0, "
            "1: 2.0}).");
}

}  // namespace
}  // namespace polyrank
