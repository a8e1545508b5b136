#include <gtest/gtest.h>
#include <polyrank/engine/local_number_forms.h>

#include <string>

namespace polyrank {
namespace {

// One operation of each group, so that a table out of order is seen.
TEST(LocalNumberForms, TablesAreInTheOrderOfTheOperations) {
  EXPECT_STREQ(forms_of(UnaryOp::kNeg).name, "-");
  EXPECT_STREQ(forms_of(UnaryOp::kCeil).name, "math.ceil");
  EXPECT_STREQ(forms_of(UnaryOp::kTrunc).name, "math.trunc");
  EXPECT_STREQ(forms_of(UnaryOp::kRound).name, "round");
  EXPECT_STREQ(forms_of(UnaryOp::kNot).name, "not");
  EXPECT_STREQ(forms_of(UnaryOp::kToFloat).name, "float");
  EXPECT_STREQ(forms_of(UnaryOp::kTanh).name, "math.tanh");
  EXPECT_STREQ(forms_of(UnaryOp::kLog2).name, "math.log2");
  EXPECT_STREQ(forms_of(BinaryOp::kAdd).symbol, "+");
  EXPECT_STREQ(forms_of(BinaryOp::kMod).symbol, "%");
  EXPECT_STREQ(forms_of(BinaryOp::kMax).symbol, "max");
  EXPECT_STREQ(forms_of(BinaryOp::kTrueDiv).symbol, "/");
  EXPECT_STREQ(forms_of(BinaryOp::kBitwiseXor).symbol, "^");
  EXPECT_STREQ(forms_of(BinaryOp::kRightShift).symbol, ">>");
  EXPECT_STREQ(forms_of(CompareOp::kEq).symbol, "==");
  EXPECT_STREQ(forms_of(CompareOp::kLt).symbol, "<");
  EXPECT_STREQ(forms_of(CompareOp::kGe).symbol, ">=");
}

TEST(LocalNumberForms, EachUnaryOperationTakesFloats) {
  for (int op = 0; op <= static_cast<int>(UnaryOp::kLog2); ++op) {
    const UnaryForms& forms = forms_of(static_cast<UnaryOp>(op));
    const int num_forms = static_cast<int>(forms.float_to_float != nullptr) +
                          static_cast<int>(forms.float_to_int != nullptr) +
                          static_cast<int>(forms.float_to_bool != nullptr);
    EXPECT_EQ(num_forms, 1) << forms.name;
  }
}

TEST(LocalNumberForms, EachBinaryOperationTakesIntsOrFloats) {
  for (int op = 0; op <= static_cast<int>(BinaryOp::kRightShift); ++op) {
    const BinaryForms& forms = forms_of(static_cast<BinaryOp>(op));
    EXPECT_TRUE(forms.on_ints != nullptr || forms.on_floats != nullptr) << forms.symbol;
  }
}

TEST(LocalNumberForms, ComputeWhatTheyAreCalled) {
  EXPECT_EQ(forms_of(BinaryOp::kMin).on_ints(3, -2).value, -2);
  EXPECT_EQ(forms_of(BinaryOp::kMax).on_floats(1.5, 0.5).value, 1.5);
  EXPECT_EQ(forms_of(BinaryOp::kBitwiseXor).on_ints(6, 3).value, 5);
  EXPECT_TRUE(forms_of(BinaryOp::kBitwiseOr).on_bools(true, false).value);
  EXPECT_FALSE(forms_of(CompareOp::kLe).on_floats(2, 1).value);
  EXPECT_EQ(forms_of(UnaryOp::kCeil).float_to_int(1.2).value, 2);
  EXPECT_EQ(forms_of(UnaryOp::kRound).float_to_int(2.5).value, 2);
  EXPECT_TRUE(forms_of(UnaryOp::kIsInteger).float_to_bool(-3.0).value);
}

}  // namespace
}  // namespace polyrank
