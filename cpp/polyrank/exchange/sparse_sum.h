// Sums of sparse tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>
#include <polyrank/exchange/member_tensors.h>

namespace polyrank {

// The sum of sparse (COO) tensors as gloo makes it, whatever the order of dense ones: each member
// is coalesced, and they are added by rank.
// Requires: members is not empty; all are sparse, and have one dtype, device and shape
// Ensures: (1) the result is coalesced, also that of one member
// Cost: for each member the sorting of its entries, and a pass over those of the sum.
// Source: AsyncSparseAllreduceWork, torch/csrc/distributed/c10d/ProcessGroupGloo.cpp.
POLYRANK_API at::Tensor sum_of_sparse(const MemberTensors& members);

}  // namespace polyrank
