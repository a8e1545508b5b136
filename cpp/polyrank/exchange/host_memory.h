// Tensors whose memory is the host's although they are on another device.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>

namespace polyrank {

// NOTE [Collectives in host memory]
// Each rank has a device of its own, and what exchanges the tensors of several ranks in one process
// computes with tensors of all these devices, which no operator takes. Where their memory is the
// host's anyway, as that of virtual GPUs, a collective is carried out on tensors of the CPU over
// it. Who makes such tensors lies above this layer, and says here how to.

// A tensor of the CPU over the memory of `tensor`: same sizes, strides, dtype; nobody's gradient.
using HostTensorOf = at::Tensor (*)(const at::Tensor& tensor);

// From now on the memory of tensors at the dispatch key CUDA is the host's.
POLYRANK_API void set_host_memory_of_cuda(HostTensorOf host_tensor_of);

// Whether set_host_memory_of_cuda() was called: the GPUs that there are, if any, are not real.
POLYRANK_API bool cuda_is_in_host_memory() noexcept;

// A tensor of the CPU over the memory of `tensor`, if that is the host's; else `tensor` itself.
POLYRANK_API at::Tensor in_host_memory(const at::Tensor& tensor);

// Replaces the tensors of `call` whose memory is the host's by tensors of the CPU.
// Ensures: (1) two that were one tensor still are
//          (2) others stay as they are
POLYRANK_API void move_to_host_memory(CollectiveCall* call);

}  // namespace polyrank
