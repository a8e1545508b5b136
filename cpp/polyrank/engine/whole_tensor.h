// Tensors that are no strided memory: a LocalTensor keeps them whole.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Storage.h>
#include <polyrank/core/export.h>

#include <cstddef>
#include <vector>

namespace polyrank {

// NOTE [Sparse LocalTensors]
// The engine follows the bytes of strided tensors (NOTE [Splitting storages]). A sparse tensor has
// no storage but indices and values of its own, so a LocalTensor of sparse tensors holds one for
// each cohort, whole. Its LocalStorage has an empty storage for each, and can't be split: an
// in-place operator that would make ranks differ is refused, while one that treats all ranks of
// each cohort alike writes to the cohorts' tensors. What a program takes out of one (`values()`)
// shares memory with it, and can't be split either.

// Whether a tensor's elements are strided memory in a storage.
POLYRANK_API bool is_strided(const at::Tensor& tensor);

// Whether a LocalTensor can keep the tensor whole: sparse ones in COO form. Compressed ones (CSR
// and its like) are refused: PyTorch's kernels for gradients of some operators on them crash by
// cohorts.
POLYRANK_API bool can_be_whole(const at::Tensor& tensor);

// A tensor's storage; an empty one for a tensor that is kept whole.
POLYRANK_API c10::Storage storage_behind(const at::Tensor& tensor);

// Another tensor of the same indices and values, as `detach` gives it; no autograd state.
POLYRANK_API at::Tensor shallow_copy(const at::Tensor& tensor);

// Throws: UnsupportedOpError if sparse tensors differ in shape: a LocalTensor keeps those of one
// shape.
POLYRANK_API void check_one_shape_of_whole(const std::vector<at::Tensor>& tensors);

// A copy in memory of its own; contiguous if it is strided.
POLYRANK_API at::Tensor own_copy(const at::Tensor& tensor);

// Bytes of a tensor's elements; of a sparse one in COO form, of its indices and values.
POLYRANK_API std::size_t nbytes_of(const at::Tensor& tensor);

}  // namespace polyrank
