// Python's arithmetic on one rank's plain numbers, with what Python raises as a value.
#pragma once

#include <cstdint>

namespace polyrank {

// Why an operation has no result.
enum class NumberFault : std::uint8_t {
  kNone,
  kDivisionByZero,
  kIntOverflow,    // no int of 64 bits
  kFloatOverflow,  // finite operands, infinite result
  kNegativeShift,  // shift by less than 0 bits
  kNegativePower,  // an int to a negative power would be a float
  kDomain,         // not in the function's domain (a square root of -1)
};

// "division by zero", …
const char* to_text(NumberFault fault);

template <typename T>
struct Checked {
  T value{};
  NumberFault fault = NumberFault::kNone;
};
using CheckedInt = Checked<std::int64_t>;
using CheckedFloat = Checked<double>;

namespace python_math {

CheckedInt add(std::int64_t a, std::int64_t b);
CheckedInt subtract(std::int64_t a, std::int64_t b);
CheckedInt multiply(std::int64_t a, std::int64_t b);
CheckedInt negate(std::int64_t a);
CheckedInt absolute(std::int64_t a);
// Rounds down: floor_divide(-7, 2) is -4.
CheckedInt floor_divide(std::int64_t a, std::int64_t b);
// Has the sign of `b`: modulo(-7, 2) is 1.
CheckedInt modulo(std::int64_t a, std::int64_t b);
CheckedInt power(std::int64_t base, std::int64_t exponent);
CheckedInt shift_left(std::int64_t a, std::int64_t bits);
CheckedInt shift_right(std::int64_t a, std::int64_t bits);
// The double nearest to the exact quotient, ties to even.
CheckedFloat true_divide(std::int64_t a, std::int64_t b);

CheckedFloat floor_divide(double a, double b);
CheckedFloat modulo(double a, double b);
CheckedFloat power(double base, double exponent);
CheckedFloat true_divide(double a, double b);

// One of `<cmath>`'s functions.
CheckedFloat evaluate(double (*function)(double), double a);

// The int that is equal to `a`.
// Requires: `a` has no fraction.
CheckedInt to_int(double a);

// The double nearest to `a` rounded to decimal digits, ties to even.
// Requires: num_digits >= 0
CheckedFloat round_to_digits(double a, std::int64_t num_digits);

}  // namespace python_math

}  // namespace polyrank
