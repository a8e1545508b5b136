#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/reduction.h>

#include <algorithm>
#include <unordered_set>

namespace polyrank {

namespace {

void check_applies(ReduceOp op, const at::Tensor& tensor) {
  const c10::ScalarType dtype = tensor.scalar_type();
  if (op == ReduceOp::kPremulSum || op == ReduceOp::kUnused) {
    throw UnsupportedOpError(str_cat("the reduce op ", to_string(op),
                                     " is not supported; scale the tensor first and use sum."));
  }
  if (is_bitwise(op) && !c10::isIntegralType(dtype, /*includeBool=*/true)) {
    throw CollectiveError(str_cat("the reduce op ", to_string(op),
                                  " works on the bits of integers and not on tensors of dtype ",
                                  c10::getDtypeNames(dtype).first,
                                  ". View them as integers first."));
  }
  const bool is_linear = op == ReduceOp::kSum || op == ReduceOp::kAvg;
  if (c10::isComplexType(dtype) && !is_linear) {
    throw CollectiveError(str_cat("the reduce op ", to_string(op),
                                  " does not apply to complex tensors, only sum and avg do."));
  }
  if (op == ReduceOp::kAvg && dtype == c10::kBool) {
    throw CollectiveError("the reduce op avg does not apply to bool tensors. Convert them first.");
  }
}

void accumulate(ReduceOp op, at::Tensor& total, const at::Tensor& member) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
      total.add_(member);
      return;
    case ReduceOp::kProduct:
      total.mul_(member);
      return;
    case ReduceOp::kMin:
      at::minimum_out(total, total, member);
      return;
    case ReduceOp::kMax:
      at::maximum_out(total, total, member);
      return;
    case ReduceOp::kBand:
      total.bitwise_and_(member);
      return;
    case ReduceOp::kBor:
      total.bitwise_or_(member);
      return;
    case ReduceOp::kBxor:
      total.bitwise_xor_(member);
      return;
    case ReduceOp::kPremulSum:
    case ReduceOp::kUnused:
      throw InternalError("a reduce op that was refused reached the fold");
  }
}

// Applies `step` to each element of `total` and `member`, `count` times in a row.
template <class T, class Step>
void repeat_elementwise(at::Tensor& total, const at::Tensor& member, std::int64_t count,
                        Step step) {
  T* totals = total.mutable_data_ptr<T>();
  const T* values = member.const_data_ptr<T>();
  constexpr std::int64_t kBlock = 64;  // enough independent chains to keep the vector units busy
  for (std::int64_t begin = 0; begin < total.numel(); begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, total.numel());
    for (std::int64_t n = 0; n < count; ++n) {
      for (std::int64_t i = begin; i < end; ++i) {
        totals[i] = step(totals[i], values[i]);
      }
    }
  }
}

// `accumulate`, `count` times: for as many members in a row that hold the same tensor. A world of
// a million equal ranks takes one pass over the memory instead of a million operator calls.
// Each step rounds as the operator's does, so the result is the same bit for bit.
void accumulate_repeatedly(ReduceOp op, at::Tensor& total, const at::Tensor& member,
                           std::int64_t count) {
  const c10::ScalarType dtype = total.scalar_type();
  const bool has_kernel = total.is_cpu() && !total.key_set().has(c10::DispatchKey::Python) &&
                          (dtype == c10::kFloat || dtype == c10::kDouble);
  const bool is_sum = op == ReduceOp::kSum || op == ReduceOp::kAvg;
  if (count == 1 || !has_kernel || !(is_sum || op == ReduceOp::kProduct)) {
    for (std::int64_t n = 0; n < count; ++n) {
      accumulate(op, total, member);
    }
    return;
  }
  const at::Tensor values = member.contiguous();
  AT_DISPATCH_FLOATING_TYPES(dtype, "polyrank::accumulate_repeatedly", [&] {
    if (is_sum) {
      repeat_elementwise<scalar_t>(total, values, count,
                                   [](scalar_t a, scalar_t b) { return a + b; });
    } else {
      repeat_elementwise<scalar_t>(total, values, count,
                                   [](scalar_t a, scalar_t b) { return a * b; });
    }
  });
}

at::Tensor reshaped_like(const at::Tensor& member, const at::Tensor& total) {
  return member.sizes() == total.sizes() ? member : member.reshape(total.sizes());
}

}  // namespace

at::Tensor fold_members(ReduceOp op, c10::ArrayRef<at::Tensor> members) {
  const at::Tensor& first = members.front();
  check_applies(op, first);
  at::Tensor total = first.clone(at::MemoryFormat::Contiguous);
  std::unordered_set<const c10::TensorImpl*> folded{first.unsafeGetTensorImpl()};
  for (std::size_t i = 1; i < members.size();) {
    const at::Tensor& member = members[i];
    std::int64_t count = 1;  // members in a row that hold this tensor
    for (++i; i < members.size() && members[i].is_same(member); ++i) {
      ++count;
    }
    if (!is_idempotent(op)) {
      accumulate_repeatedly(op, total, reshaped_like(member, total), count);
    } else if (folded.insert(member.unsafeGetTensorImpl()).second) {
      accumulate(op, total, reshaped_like(member, total));
    }
  }
  if (op == ReduceOp::kAvg) {
    const auto num_members = static_cast<std::int64_t>(members.size());
    if (c10::isIntegralType(total.scalar_type(), /*includeBool=*/false)) {
      total.div_(num_members, "trunc");
    } else {
      total.div_(num_members);
    }
  }
  return total;
}

}  // namespace polyrank
