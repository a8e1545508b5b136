// Folding the tensors of a group's members into one.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/collective/reduce_op.h>
#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank {

// NOTE [Order of summation]
// Floating-point sums depend on their order. Real backends take whatever order their algorithm
// and the message size give; we fold in the order of the group's members, in the tensors' dtype,
// rounding after each step. That is one order that a backend may take, it is the same on every
// run, and it does not depend on how ranks are grouped into cohorts: a value that several members
// hold is added once for each of them.
// ReductionOrder::kTree is another order that is as reproducible: neighbours are added in pairs,
// then the neighbouring sums, until one is left; a last one without a neighbour waits.
enum class ReductionOrder : std::uint8_t { kRank, kTree };

// The order that all reductions of the process fold in; kRank at the start.
POLYRANK_API ReductionOrder reduction_order() noexcept;
POLYRANK_API void set_reduction_order(ReductionOrder order) noexcept;

// Reductions fold in `order` during the scope.
class POLYRANK_API ReductionOrderGuard {
 public:
  explicit ReductionOrderGuard(ReductionOrder order) noexcept;
  ~ReductionOrderGuard();
  ReductionOrderGuard(const ReductionOrderGuard&) = delete;
  ReductionOrderGuard& operator=(const ReductionOrderGuard&) = delete;

 private:
  ReductionOrder before_;
};

// Whether a tensor holds values at all; meta and fake tensors don't, so that shapes are all that
// members can differ by.
POLYRANK_API bool holds_values(const at::Tensor& tensor);

// The fold of `members` in order. The result is contiguous memory of its own, in the shape of the
// first member; `kAvg` divides the sum by the number of members (integers: towards zero).
// Requires: members is not empty; all have one dtype, device and number of elements; for
//           kPremulSum they are scaled already
// Throws: CollectiveError if `op` does not apply to the dtype; UnsupportedOpError for kUnused, and
//         where PyTorch has no kernel, as for sums of float8.
// Cost: one pass over the data for each member; for min, max and bitwise and, or only for
//       distinct ones. Tensors without values cost two passes at most.
POLYRANK_API at::Tensor fold_members(ReduceOp op, c10::ArrayRef<at::Tensor> members);

// fold_members() of `num_members` members that all hold `member`, whatever their number: sum gives
// num_members * member, rounded once (a fold step by step may round otherwise), avg and those that
// are idempotent give `member`.
// Throws: as fold_members(), and UsageError if `num_members` is not positive.
// Cost: one pass over the data.
POLYRANK_API at::Tensor fold_equal_members(ReduceOp op, const at::Tensor& member,
                                           std::int64_t num_members);

}  // namespace polyrank
