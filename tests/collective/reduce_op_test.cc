#include <gtest/gtest.h>
#include <polyrank/collective/reduce_op.h>
#include <polyrank/core/errors.h>

#include <string>

namespace polyrank {
namespace {

TEST(ReduceOp, NamesRoundTrip) {
  for (int i = 0; i <= static_cast<int>(ReduceOp::kUnused); ++i) {
    const auto op = static_cast<ReduceOp>(i);
    EXPECT_EQ(reduce_op_from_name(to_string(op)), op);
  }
  EXPECT_EQ(reduce_op_from_name("sum"), ReduceOp::kSum);
}

TEST(ReduceOp, OfAnotherNameIsAnErrorThatListsTheNames) {
  try {
    reduce_op_from_name("SUM");
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("no reduce op is called \"SUM\""), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("bxor"), std::string::npos);
  }
}

TEST(ReduceOp, IdempotentOnesCountEqualRanksOnce) {
  EXPECT_TRUE(is_idempotent(ReduceOp::kMin));
  EXPECT_TRUE(is_idempotent(ReduceOp::kBor));
  EXPECT_FALSE(is_idempotent(ReduceOp::kBxor));
  EXPECT_FALSE(is_idempotent(ReduceOp::kSum));
  EXPECT_FALSE(is_idempotent(ReduceOp::kProduct));
  EXPECT_TRUE(is_bitwise(ReduceOp::kBxor));
  EXPECT_FALSE(is_bitwise(ReduceOp::kMax));
}

}  // namespace
}  // namespace polyrank
