// Tensors on a virtual GPU and tensors of the CPU over the same bytes.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/StorageImpl.h>
#include <polyrank/core/export.h>

#include <cstddef>
#include <string_view>

namespace polyrank {

// NOTE [Two storages over one memory]
// The memory of a virtual GPU's storage is owned by a storage of the CPU, its *host storage*, which
// the GPU's holds in the context of its data pointer. An operator gets tensors over the host
// storage; what it returns over one it was given belongs to the GPU's storage that goes with it, so
// views stay views. Where an operator resizes a host storage, the GPU's follows (`follow_host`).
// Without bytes the host storage is of device "meta".
// Beside it the GPU's storage has a block of the GPU's memory, as CUDA's allocator would give it,
// of the stream that was current when it was made.

// A new storage on that GPU, whose memory is `host`.
c10::intrusive_ptr<c10::StorageImpl> make_gpu_storage(c10::intrusive_ptr<c10::StorageImpl> host,
                                                      c10::DeviceIndex gpu);

// The host storage; null if `storage` is no virtual GPU's.
c10::StorageImpl* host_storage(const c10::StorageImpl& storage) noexcept;

// Takes over the size and address of the host storage after it may have been resized.
void follow_host(c10::StorageImpl* storage);

// Gives a storage on a virtual GPU another size; what fits of its content stays.
// Throws: UsageError if it is on none.
POLYRANK_API void resize_gpu_storage(c10::StorageImpl* storage, std::size_t bytes);

// A tensor of the CPU over the memory of `tensor`: same sizes, strides, dtype; nobody's gradient.
// Requires: `tensor` is strided and on a virtual GPU
at::Tensor host_tensor(const at::Tensor& tensor);

// A tensor on a virtual GPU like `host`, over `storage`.
at::Tensor gpu_tensor(const at::Tensor& host, c10::intrusive_ptr<c10::StorageImpl> storage);

// Says that `stream` uses the memory of `tensor`, too, which must be kept for it.
// Requires: `tensor` is on a virtual GPU
POLYRANK_API void record_gpu_stream(const at::Tensor& tensor, c10::Stream stream);

// Says whose the memory of `tensor` is, in the history that is kept, if one is (memory_history.h).
// What is on no virtual GPU without bytes is left alone.
// Requires: `tensor` has a storage
POLYRANK_API void set_memory_owner(const at::Tensor& tensor, std::string_view owner,
                                   std::string_view detail);

// Where kernels for tensors over a host storage of that device are found: CPU or Meta.
c10::DispatchKey dispatch_key_of(c10::DeviceType host) noexcept;

// What allocates memory on the current GPU for those who ask PyTorch for CUDA's allocator.
POLYRANK_API c10::Allocator* gpu_allocator();

}  // namespace polyrank
