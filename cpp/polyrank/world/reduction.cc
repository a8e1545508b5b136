#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/reduction.h>

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

}  // namespace

at::Tensor fold_members(ReduceOp op, c10::ArrayRef<at::Tensor> members) {
  const at::Tensor& first = members.front();
  check_applies(op, first);
  at::Tensor total = first.clone(at::MemoryFormat::Contiguous);
  std::unordered_set<const c10::TensorImpl*> folded{first.unsafeGetTensorImpl()};
  for (const at::Tensor& member : members.slice(1)) {
    if (is_idempotent(op) && !folded.insert(member.unsafeGetTensorImpl()).second) {
      continue;
    }
    accumulate(op, total, member.sizes() == total.sizes() ? member : member.reshape(total.sizes()));
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
