#include <polyrank/engine/local_number_math.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>

namespace polyrank {

namespace {

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

// The magnitude, also of the smallest int.
std::uint64_t magnitude(std::int64_t a) {
  return a < 0 ? 0 - static_cast<std::uint64_t>(a) : static_cast<std::uint64_t>(a);
}

// a / b rounded once. Requires: neither is 0.
double nearest_quotient(std::uint64_t a, std::uint64_t b) {
  using Wide = unsigned __int128;
  // With both shifted to fill 64 bits the quotient has 64 or 65 bits, more than a double holds. The
  // lowest bit records whether a remainder is left, so that the conversion rounds the exact value.
  const int a_shift = std::countl_zero(a);
  const int b_shift = std::countl_zero(b);
  const Wide dividend = static_cast<Wide>(a << a_shift) << 64;
  const Wide divisor = b << b_shift;
  Wide quotient = dividend / divisor;
  if (dividend % divisor != 0) {
    quotient |= 1;
  }
  return std::ldexp(static_cast<double>(quotient), b_shift - a_shift - 64);
}

}  // namespace

const char* to_text(NumberFault fault) {
  switch (fault) {
    case NumberFault::kDivisionByZero:
      return "division by zero";
    case NumberFault::kIntOverflow:
      return "the result does not fit into 64 bits";
    case NumberFault::kFloatOverflow:
      return "the result is too large for a float";
    case NumberFault::kNegativeShift:
      return "negative shift count";
    case NumberFault::kNegativePower:
      return "a negative power of an int is a float: use torch.sym_float";
    case NumberFault::kDomain:
      return "math domain error";
    case NumberFault::kNone:
      break;
  }
  return "no fault";
}

namespace python_math {

CheckedInt add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? CheckedInt{0, NumberFault::kIntOverflow}
                                            : CheckedInt{sum};
}

CheckedInt subtract(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  return __builtin_sub_overflow(a, b, &difference) ? CheckedInt{0, NumberFault::kIntOverflow}
                                                   : CheckedInt{difference};
}

CheckedInt multiply(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? CheckedInt{0, NumberFault::kIntOverflow}
                                                : CheckedInt{product};
}

CheckedInt negate(std::int64_t a) { return subtract(0, a); }

CheckedInt absolute(std::int64_t a) { return a < 0 ? negate(a) : CheckedInt{a}; }

CheckedInt floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) {
    return {0, NumberFault::kDivisionByZero};
  }
  if (b == -1) {
    return negate(a);
  }
  const bool rounds_up = a % b != 0 && (a < 0) != (b < 0);
  return {a / b - (rounds_up ? 1 : 0)};
}

CheckedInt modulo(std::int64_t a, std::int64_t b) {
  if (b == 0) {
    return {0, NumberFault::kDivisionByZero};
  }
  if (b == -1) {
    return {0};  // kMin % -1 overflows in C++
  }
  const std::int64_t remainder = a % b;
  return {remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder};
}

CheckedInt power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    return {0, NumberFault::kNegativePower};
  }
  CheckedInt result{1};
  CheckedInt square{base};
  for (; exponent > 0; exponent >>= 1) {
    if (exponent % 2 == 1) {
      if (square.fault != NumberFault::kNone) {
        return square;
      }
      result = multiply(result.value, square.value);
      if (result.fault != NumberFault::kNone) {
        return result;
      }
    }
    if (square.fault == NumberFault::kNone) {
      square = multiply(square.value, square.value);
    }
  }
  return result;
}

CheckedInt shift_left(std::int64_t a, std::int64_t bits) {
  if (bits < 0) {
    return {0, NumberFault::kNegativeShift};
  }
  if (a == 0) {
    return {0};
  }
  if (bits >= 63) {
    return a == -1 && bits == 63 ? CheckedInt{kMin} : CheckedInt{0, NumberFault::kIntOverflow};
  }
  return multiply(a, std::int64_t{1} << bits);
}

CheckedInt shift_right(std::int64_t a, std::int64_t bits) {
  if (bits < 0) {
    return {0, NumberFault::kNegativeShift};
  }
  return {a >> (bits < 63 ? bits : 63)};
}

CheckedFloat true_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) {
    return {0, NumberFault::kDivisionByZero};
  }
  if (a == 0) {
    return {b < 0 ? -0.0 : 0.0};
  }
  const double quotient = nearest_quotient(magnitude(a), magnitude(b));
  return {(a < 0) != (b < 0) ? -quotient : quotient};
}

CheckedFloat true_divide(double a, double b) {
  return b == 0 ? CheckedFloat{0, NumberFault::kDivisionByZero} : CheckedFloat{a / b};
}

CheckedFloat floor_divide(double a, double b) {
  CheckedFloat quotient = true_divide(a, b);
  quotient.value = std::floor(quotient.value);
  return quotient;
}

CheckedFloat modulo(double a, double b) {
  if (b == 0) {
    return {0, NumberFault::kDivisionByZero};
  }
  const double remainder = std::fmod(a, b);
  if (remainder == 0) {
    return {std::copysign(0.0, b)};
  }
  return {(remainder < 0) != (b < 0) ? remainder + b : remainder};
}

CheckedFloat power(double base, double exponent) {
  if (base == 0 && exponent < 0) {
    return {0, NumberFault::kDivisionByZero};
  }
  const double result = std::pow(base, exponent);
  if (std::isnan(result) && !std::isnan(base) && !std::isnan(exponent)) {
    return {0, NumberFault::kDomain};  // a complex number
  }
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) {
    return {0, NumberFault::kFloatOverflow};
  }
  return {result};
}

CheckedFloat evaluate(double (*function)(double), double a) {
  const double result = function(a);
  if (std::isnan(result) && !std::isnan(a)) {
    return {0, NumberFault::kDomain};
  }
  if (std::isinf(result) && std::isfinite(a)) {
    return {
        0, a == 0 ? NumberFault::kDomain : NumberFault::kFloatOverflow};  // a == 0: a pole, log2(0)
  }
  return {result};
}

CheckedInt to_int(double a) {
  if (std::isnan(a)) {
    return {0, NumberFault::kDomain};
  }
  constexpr double kTwoTo63 = 9223372036854775808.0;
  if (a < -kTwoTo63 || a >= kTwoTo63) {
    return {0, NumberFault::kIntOverflow};
  }
  return {static_cast<std::int64_t>(a)};
}

CheckedFloat round_to_digits(double a, std::int64_t num_digits) {
  constexpr std::int64_t kMostDigits = 1074;  // no double has more digits after the point
  if (!std::isfinite(a) || num_digits >= kMostDigits) {
    return {a};
  }
  std::string text(static_cast<std::size_t>(num_digits) + 400, '\0');
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), a,
                                          std::chars_format::fixed, static_cast<int>(num_digits));
  CheckedFloat rounded;
  std::from_chars(text.data(), end, rounded.value);
  static_cast<void>(error);  // the buffer holds any double
  return rounded;
}

}  // namespace python_math

}  // namespace polyrank
