// Folding the tensors of a group's members into one.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/collective/reduce_op.h>
#include <polyrank/core/export.h>

namespace polyrank {

// NOTE [Order of summation]
// Floating-point sums depend on their order. Real backends take whatever order their algorithm
// and the message size give; we fold in the order of the group's members, in the tensors' dtype,
// rounding after each step. That is one order that a backend may take, it is the same on every
// run, and it does not depend on how ranks are grouped into cohorts: a value that several members
// hold is added once for each of them.

// The fold of `members` in order. The result is contiguous memory of its own, in the shape of the
// first member; `kAvg` divides the sum by the number of members (integers: towards zero).
// Requires: members is not empty; all have one dtype, device and number of elements
// Throws: CollectiveError if `op` does not apply to the dtype; UnsupportedOpError for premul_sum.
// Cost: one pass over the data for each member; for min, max and bitwise and, or only for
//       distinct ones.
POLYRANK_API at::Tensor fold_members(ReduceOp op, c10::ArrayRef<at::Tensor> members);

}  // namespace polyrank
