// Streams and events of virtual GPUs. Work is done the moment it is launched, so every stream is
// idle and every recorded event has happened; events know when. What waits for what is kept where
// it decides when memory is free (allocator/stream_order.h).
#pragma once

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank {

// The calling thread's current stream of `device`, the default one at first; exchange_gpu_stream
// makes another one current and returns the one before.
POLYRANK_API c10::Stream current_gpu_stream(c10::Device device);
POLYRANK_API c10::Stream exchange_gpu_stream(c10::Stream stream);

// The next stream of the rank's pool, which has 32 of each priority; after the last comes the first
// again, as in a PyTorch built for CUDA.
POLYRANK_API c10::Stream new_gpu_stream(c10::Device device, int priority = 0);

// The stream that `handle` (`Stream.cuda_stream`) stands for.
// Throws: UnsupportedOpError if it is none of ours.
POLYRANK_API c10::Stream gpu_stream_of_handle(c10::Device device, std::uintptr_t handle);

// Milliseconds between two recorded events, which their `event_id` names.
// Throws: c10::Error if one of them was not recorded, or if they are of different GPUs.
POLYRANK_API double elapsed_gpu_time(std::uintptr_t start_event, std::uintptr_t end_event);

// The host waits for all that was launched on a stream, or on a GPU.
POLYRANK_API void synchronize_gpu_stream(c10::Stream stream);
POLYRANK_API void synchronize_gpu(c10::DeviceIndex gpu);

// The guard by which PyTorch reaches devices, streams and events.
const c10::impl::DeviceGuardImplInterface* gpu_device_guard();

}  // namespace polyrank
