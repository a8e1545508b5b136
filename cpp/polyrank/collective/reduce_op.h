// The operations that reductions combine values with.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <string_view>

namespace polyrank {

// Same order as c10d::ReduceOp::RedOpType.
enum class ReduceOp : std::uint8_t {
  kSum,
  kAvg,
  kProduct,
  kMin,
  kMax,
  kBand,
  kBor,
  kBxor,
  kPremulSum,  // multiplies each value by a factor first
  kUnused,
};

// Name as functional collectives spell it: "sum", "avg", …
POLYRANK_API std::string_view to_string(ReduceOp op) noexcept;

// The reduce op of that name.
// Throws: UsageError if there is none, naming those that there are.
POLYRANK_API ReduceOp reduce_op_from_name(std::string_view name);

// Whether combining a value with itself gives that value, so that equal ranks count once.
POLYRANK_API bool is_idempotent(ReduceOp op) noexcept;

// Whether it works on bits, and so not on floating-point values.
POLYRANK_API bool is_bitwise(ReduceOp op) noexcept;

}  // namespace polyrank
