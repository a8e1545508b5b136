// Folding the tensors of a group's members into one.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/collective/reduce_op.h>
#include <polyrank/collective/reduction_order.h>
#include <polyrank/core/export.h>
#include <polyrank/exchange/member_tensors.h>

#include <cstdint>
#include <memory>
#include <optional>

namespace polyrank {

// The order that all reductions of the process fold in; kRank at the start. See NOTE [Order of
// summation] in collective/reduction_order.h.
// Throws: set_reduction_order(): as check_algorithm().
POLYRANK_API ReductionAlgorithm reduction_order();
POLYRANK_API void set_reduction_order(const ReductionAlgorithm& algorithm);

// Reductions fold in `algorithm`'s order during the scope.
class POLYRANK_API ReductionOrderGuard {
 public:
  // Throws: as check_algorithm().
  explicit ReductionOrderGuard(const ReductionAlgorithm& algorithm);
  ~ReductionOrderGuard();
  ReductionOrderGuard(const ReductionOrderGuard&) = delete;
  ReductionOrderGuard& operator=(const ReductionOrderGuard&) = delete;

 private:
  std::shared_ptr<const ReductionAlgorithm> before_;
};

// Whether a tensor holds values at all; meta and fake tensors don't, so that shapes are all that
// members can differ by.
POLYRANK_API bool holds_values(const at::Tensor& tensor);

// The fold of `members` in reduction_order(). The result is contiguous memory of its own, in the
// shape of the first member; `kAvg` divides the sum by the number of members (integers: towards
// zero), except that floats are divided before they are added where NCCL does so. Sums of sparse
// tensors are sum_of_sparse()'s. `place`: which
// elements of what a member puts in these are; all of them unless it is said. Requires: members is
// not empty; all have one dtype, device and number of elements; for
//           kPremulSum they are scaled already
// Throws: CollectiveError if `op` does not apply to the dtype; UnsupportedOpError for kUnused, and
//         where PyTorch has no kernel, as for sums of float8; UsageError as fold_parts().
// Cost: one pass over the data for each member; in the order of ranks a sum takes some 20 for a run
//       of a million, see add_repeatedly(), and min, max and bitwise and, or one for each distinct
//       tensor. With n members and a ring, n steps for each of its parts. Tensors without values
//       cost two passes at most.
POLYRANK_API at::Tensor fold_members(ReduceOp op, const MemberTensors& members,
                                     const std::optional<ReducedElements>& place = std::nullopt);
POLYRANK_API at::Tensor fold_members(ReduceOp op, c10::ArrayRef<at::Tensor> members,
                                     const std::optional<ReducedElements>& place = std::nullopt);

// fold_members() of `num_members` members that all hold `member`, whatever their number: sum gives
// num_members * member, rounded once (a fold step by step may round otherwise), avg and those that
// are idempotent give `member`.
// Throws: as fold_members(), and UsageError if `num_members` is not positive.
// Cost: one pass over the data.
POLYRANK_API at::Tensor fold_equal_members(ReduceOp op, const at::Tensor& member,
                                           std::int64_t num_members);

}  // namespace polyrank
