// What ranks' tensors must have in common to be one LocalTensor.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DispatchKeySet.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>

#include <vector>

namespace polyrank {

// Keys beside the backend's that say how to read a tensor's bytes.
c10::DispatchKeySet view_bits(const at::Tensor& tensor);

// Whether sizes, strides and offset are the same; of sparse tensors, sizes.
POLYRANK_API bool same_geometry(const at::Tensor& a, const at::Tensor& b);

// Checks that `tensors`, one per cohort of `partition`, can be one LocalTensor.
// Requires: tensors is not empty
// Throws: DivergenceError if they differ in number of dimensions, dtype, layout, device or bits;
//         UnsupportedOpError if one is neither strided nor sparse in COO form.
POLYRANK_API void check_alike(const RankPartition& partition,
                              const std::vector<at::Tensor>& tensors);

// Ranks whose tensors hold no values (meta, fake) differ by shape only: where all shapes agree,
// `partition` becomes uniform and `tensors` one.
POLYRANK_API void merge_without_data(RankPartition* partition, std::vector<at::Tensor>* tensors);

}  // namespace polyrank
