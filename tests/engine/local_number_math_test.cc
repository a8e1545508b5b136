#include <gtest/gtest.h>
#include <polyrank/engine/local_number_math.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace polyrank::python_math {
namespace {

using Int = std::int64_t;
using Wide = __int128;
constexpr Int kMin = std::numeric_limits<Int>::min();
constexpr Int kMax = std::numeric_limits<Int>::max();

std::vector<Int> interesting_ints() {
  std::vector<Int> ints = {kMin, kMin + 1, kMax, kMax - 1, Int{1} << 53, (Int{1} << 53) + 1};
  for (Int small = -9; small <= 9; ++small) {
    ints.push_back(small);
  }
  return ints;
}

// The exact result, if it fits.
CheckedInt in_64_bits(Wide exact) {
  return exact < kMin || exact > kMax ? CheckedInt{0, NumberFault::kIntOverflow}
                                      : CheckedInt{static_cast<Int>(exact)};
}

void expect_equal(CheckedInt actual, CheckedInt expected, Int a, Int b) {
  EXPECT_EQ(actual.fault, expected.fault) << a << ", " << b;
  EXPECT_EQ(actual.value, expected.value) << a << ", " << b;
}

TEST(LocalNumberMath, IntsAreExactOrOverflow) {
  for (const Int a : interesting_ints()) {
    expect_equal(negate(a), in_64_bits(-Wide{a}), a, 0);
    expect_equal(absolute(a), in_64_bits(a < 0 ? -Wide{a} : Wide{a}), a, 0);
    for (const Int b : interesting_ints()) {
      expect_equal(add(a, b), in_64_bits(Wide{a} + b), a, b);
      expect_equal(subtract(a, b), in_64_bits(Wide{a} - b), a, b);
      expect_equal(multiply(a, b), in_64_bits(Wide{a} * b), a, b);
    }
  }
}

TEST(LocalNumberMath, FloorDivisionRoundsDownAndModuloCompletesIt) {
  for (const Int a : interesting_ints()) {
    for (const Int b : interesting_ints()) {
      if (b == 0) {
        EXPECT_EQ(floor_divide(a, b).fault, NumberFault::kDivisionByZero);
        EXPECT_EQ(modulo(a, b).fault, NumberFault::kDivisionByZero);
        continue;
      }
      const Wide truncated = Wide{a} / b;
      const Wide floor = truncated - ((Wide{a} % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
      expect_equal(floor_divide(a, b), in_64_bits(floor), a, b);
      expect_equal(modulo(a, b), in_64_bits(Wide{a} - floor * b), a, b);
    }
  }
}

TEST(LocalNumberMath, PowersAndShifts) {
  for (Int base = -4; base <= 4; ++base) {
    Wide exact = 1;
    for (Int exponent = 0; exponent <= 40; ++exponent, exact *= base) {
      expect_equal(power(base, exponent), in_64_bits(exact), base, exponent);
    }
  }
  expect_equal(power(Int{-2}, Int{63}), {kMin}, -2, 63);
  expect_equal(power(Int{1}, kMax), {1}, 1, kMax);
  expect_equal(power(Int{-1}, kMax), {-1}, -1, kMax);
  EXPECT_EQ(power(Int{2}, Int{-1}).fault, NumberFault::kNegativePower);
  for (Int bits = 0; bits <= 63; ++bits) {
    expect_equal(shift_left(-3, bits), in_64_bits(Wide{-3} * (Wide{1} << bits)), -3, bits);
  }
  expect_equal(shift_left(-1, 63), {kMin}, -1, 63);
  expect_equal(shift_left(0, kMax), {0}, 0, kMax);
  expect_equal(shift_right(-5, 1), {-3}, -5, 1);
  expect_equal(shift_right(-5, 200), {-1}, -5, 200);
  EXPECT_EQ(shift_left(1, 64).fault, NumberFault::kIntOverflow);
  EXPECT_EQ(shift_left(1, -1).fault, NumberFault::kNegativeShift);
  EXPECT_EQ(shift_right(1, -1).fault, NumberFault::kNegativeShift);
}

TEST(LocalNumberMath, TrueDivisionOfIntsRoundsOnce) {
  for (Int a = -50; a <= 50; ++a) {  // doubles hold these, so the machine's division is right
    for (Int b = 1; b <= 50; ++b) {
      if (a != 0) {
        EXPECT_EQ(true_divide(a, b).value, static_cast<double>(a) / static_cast<double>(b));
      }
    }
  }
  EXPECT_EQ(true_divide(Int{0}, Int{3}).value, 0.0);
  EXPECT_TRUE(std::signbit(true_divide(Int{0}, Int{-3}).value));
  EXPECT_EQ(true_divide(kMin, kMin).value, 1.0);
  EXPECT_EQ(true_divide(kMin, Int{-1}).value, 9223372036854775808.0);
  // Converting the operands first rounds twice, and gives 3002399751580330.5 here.
  EXPECT_EQ(true_divide((Int{1} << 53) + 1, Int{3}).value, 3002399751580331.0);
  EXPECT_EQ(true_divide(Int{9007199254740993}, Int{9007199254740993}).value, 1.0);
  EXPECT_EQ(true_divide(kMax, kMax - 1).value, 1.0);
  EXPECT_EQ(true_divide(Int{1}, Int{0}).fault, NumberFault::kDivisionByZero);
}

TEST(LocalNumberMath, FloatsFollowPython) {
  EXPECT_EQ(modulo(-7.5, 2.0).value, 0.5);
  EXPECT_EQ(modulo(7.5, -2.0).value, -0.5);
  EXPECT_TRUE(std::signbit(modulo(4.0, -2.0).value));
  EXPECT_EQ(floor_divide(-7.5, 2.0).value, -4.0);
  EXPECT_EQ(power(2.0, 0.5).value, std::sqrt(2.0));
  EXPECT_EQ(true_divide(1.0, 0.0).fault, NumberFault::kDivisionByZero);
  EXPECT_EQ(floor_divide(1.0, 0.0).fault, NumberFault::kDivisionByZero);
  EXPECT_EQ(modulo(1.0, 0.0).fault, NumberFault::kDivisionByZero);
  EXPECT_EQ(power(0.0, -1.0).fault, NumberFault::kDivisionByZero);
  EXPECT_EQ(power(-2.0, 0.5).fault, NumberFault::kDomain);
  EXPECT_EQ(power(10.0, 400.0).fault, NumberFault::kFloatOverflow);
  EXPECT_EQ(evaluate(&std::sqrt, -1.0).fault, NumberFault::kDomain);
  EXPECT_EQ(evaluate(&std::log2, 0.0).fault, NumberFault::kDomain);
  EXPECT_EQ(evaluate(&std::cosh, 1000.0).fault, NumberFault::kFloatOverflow);
  EXPECT_EQ(evaluate(&std::sqrt, 4.0).value, 2.0);
}

TEST(LocalNumberMath, FloatsBecomeIntsIfTheyFit) {
  EXPECT_EQ(to_int(-9223372036854775808.0).value, kMin);
  EXPECT_EQ(to_int(9223372036854775808.0).fault, NumberFault::kIntOverflow);
  EXPECT_EQ(to_int(std::numeric_limits<double>::infinity()).fault, NumberFault::kIntOverflow);
  EXPECT_EQ(to_int(std::numeric_limits<double>::quiet_NaN()).fault, NumberFault::kDomain);
}

TEST(LocalNumberMath, RoundsTheExactDecimalValue) {
  EXPECT_EQ(round_to_digits(2.675, 2).value, 2.67);  // 2.675 is a little less than that
  EXPECT_EQ(round_to_digits(0.125, 2).value, 0.12);  // an exact tie goes to even
  EXPECT_EQ(round_to_digits(0.375, 2).value, 0.38);
  EXPECT_EQ(round_to_digits(1e300, 5).value, 1e300);
  EXPECT_EQ(round_to_digits(5e-324, 2000).value, 5e-324);
  EXPECT_TRUE(std::signbit(round_to_digits(-0.001, 2).value));
  EXPECT_TRUE(std::isinf(round_to_digits(std::numeric_limits<double>::infinity(), 1).value));
}

TEST(LocalNumberMath, EachFaultHasWords) {
  for (int fault = 0; fault <= static_cast<int>(NumberFault::kDomain); ++fault) {
    EXPECT_FALSE(std::string(to_text(static_cast<NumberFault>(fault))).empty());
  }
}

}  // namespace
}  // namespace polyrank::python_math
