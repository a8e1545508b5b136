// Arithmetic on rank-dependent numbers, cohort by cohort.
#pragma once

#include <polyrank/core/errors.h>
#include <polyrank/core/export.h>
#include <polyrank/engine/local_number.h>

#include <cstdint>

namespace polyrank {

// A bool counts as an int, except where bools are named.
enum class UnaryOp : std::uint8_t {
  // Of the operand's kind.
  kNeg,
  kAbs,
  kPos,
  // To int.
  kCeil,
  kFloor,
  kTrunc,
  kRound,
  // To bool.
  kNot,
  kIsInteger,
  // To float.
  kToFloat,
  kSqrt,
  kCos,
  kCosh,
  kSin,
  kSinh,
  kTan,
  kTanh,
  kAsin,
  kAcos,
  kAtan,
  kLog2,
};

enum class BinaryOp : std::uint8_t {
  // Float if one operand is, else int.
  kAdd,
  kSub,
  kMul,
  kFloorDiv,
  kMod,
  kPow,
  kMin,
  kMax,
  // Float.
  kTrueDiv,
  kFloatPow,
  // Bool if both operands are, else int; no floats.
  kBitwiseAnd,
  kBitwiseOr,
  kBitwiseXor,
  // Int; no floats.
  kLeftShift,
  kRightShift,
};

enum class CompareOp : std::uint8_t { kEq, kNe, kLt, kLe, kGt, kGe };

// A rank divides by zero. Python: also a ZeroDivisionError.
class POLYRANK_API DivisionByZeroError : public UsageError {
 public:
  using UsageError::UsageError;
};

// Ensures, for all functions here: (1) on each rank the result is what Python gives for that rank's
//          operands; (2) the partition is common_partition() of the operands', merged where results
//          are equal.
// Throws: UsageError naming ranks and operands where Python raises (DivisionByZeroError for that),
// or
//         where an int has no place in 64 bits; UnsupportedOpError if the operation has no meaning
//         for these kinds of number.
AnyNumber apply(UnaryOp op, const AnyNumber& operand);
AnyNumber apply(BinaryOp op, const AnyNumber& left, const AnyNumber& right);
LocalBool compare(CompareOp op, const AnyNumber& left, const AnyNumber& right);

// `then_value` on the ranks where `condition` holds, `else_value` on the others. Kinds that differ
// are promoted: bool to int to float.
AnyNumber select(const LocalBool& condition, const AnyNumber& then_value,
                 const AnyNumber& else_value);

// Python's round() with a number of decimal digits; ints stay what they are.
// Throws: UnsupportedOpError if num_digits < 0.
AnyNumber round_to_digits(const AnyNumber& operand, std::int64_t num_digits);

// As float() gives it on each rank.
LocalFloat to_float(const AnyNumber& number);

// Whether the number counts as true.
LocalBool truth(const AnyNumber& number);

}  // namespace polyrank
