#include <polyrank/collective/reduce_op.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>

#include <array>

namespace polyrank {

namespace {

constexpr std::array<std::string_view, 10> kNames = {
    "sum", "avg", "product", "min", "max", "band", "bor", "bxor", "premul_sum", "unused"};

}  // namespace

std::string_view to_string(ReduceOp op) noexcept {
  const auto index = static_cast<std::size_t>(op);
  return index < kNames.size() ? kNames[index] : "unknown";
}

ReduceOp reduce_op_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) {
      return static_cast<ReduceOp>(i);
    }
  }
  throw UsageError(str_cat("no reduce op is called \"", name,
                           "\"; there are sum, avg, product, min, max, band, bor, bxor and "
                           "premul_sum."));
}

bool is_idempotent(ReduceOp op) noexcept {
  return op == ReduceOp::kMin || op == ReduceOp::kMax || op == ReduceOp::kBand ||
         op == ReduceOp::kBor;
}

bool is_bitwise(ReduceOp op) noexcept {
  return op == ReduceOp::kBand || op == ReduceOp::kBor || op == ReduceOp::kBxor;
}

}  // namespace polyrank
