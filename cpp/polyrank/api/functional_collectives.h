// Collectives that give new tensors, named as PyTorch's operators of `_c10d_functional`.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/api/collectives.h>
#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank::functional {

// What NOTE [Collectives in C++] says holds here too, but results are tensors, complete when they
// are returned: no wait_tensor() is needed. Gradients flow where a contract says so, by the
// formulas that PyTorch registers in Python; they too are collectives of all ranks. Throws, those
// that reduce: UnsupportedOpError for PREMUL_SUM, whose factor the operators can't
//         take, and in the backward pass for any reduction but SUM.

// The reduction over the group.
// Shapes: as `input`, which is one for all members.
// Ensures: the gradient of `input` is the sum of the members' gradients of the result.
POLYRANK_API at::Tensor all_reduce(const at::Tensor& input, const ReduceOptions& options = {});

// The root's tensor, without a gradient.
// Shapes: as `input`, which is one for all members.
POLYRANK_API at::Tensor broadcast(const at::Tensor& input, std::int64_t root,
                                  const ProcessGroup& group = {});

// The members' tensors, joined along the first dimension.
// Shapes: (N * rows, …) for `input` (rows, …).
// Ensures: the gradient of `input` is the sum of its rows' gradients on all members.
POLYRANK_API at::Tensor all_gather_into_tensor(const at::Tensor& input,
                                               const ProcessGroup& group = {});

// Each member's piece of the reduced tensor.
// Shapes: (rows / N, …) for `input` (rows, …).
// Ensures: the gradient of `input` joins the members' gradients of their pieces.
POLYRANK_API at::Tensor reduce_scatter_tensor(const at::Tensor& input,
                                              const ReduceOptions& options = {});

// The pieces that the members send to this rank, joined along the first dimension.
// Ensures: gradients go back to the ranks that their rows came from.
POLYRANK_API at::Tensor all_to_all_single(const at::Tensor& input,
                                          const AllToAllOptions& options = {});

// What was split along `gather_dim` is split along `shard_dim` instead; without a gradient.
// Shapes: sizes of `gather_dim` times N, of `shard_dim` divided by N.
POLYRANK_API at::Tensor shard_dim_alltoall(const at::Tensor& input, std::int64_t gather_dim,
                                           std::int64_t shard_dim, const ProcessGroup& group = {});

// Several as one launch, without gradients. Shapes: of each as above.
POLYRANK_API Tensors all_reduce_coalesced(Tensors inputs, const ReduceOptions& options = {});
POLYRANK_API Tensors all_gather_into_tensor_coalesced(Tensors inputs,
                                                      const ProcessGroup& group = {});
POLYRANK_API Tensors reduce_scatter_tensor_coalesced(Tensors inputs,
                                                     const ReduceOptions& options = {});

}  // namespace polyrank::functional
