// The GPUs that a machine without one is given: how many, what they say of themselves, and which is
// current.
#pragma once

#include <c10/core/AutogradState.h>
#include <c10/core/Device.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <string>

namespace polyrank {

// NOTE [Virtual GPUs]
// A virtual GPU is a CUDA device whose memory is the host's. Tensors on it are of device "cuda:i"
// in all that PyTorch knows of them; an operator on them is the CPU's operator on the same bytes
// (kernel.h). So values are bit for bit those of the same program on the CPU, and a program written
// for a cluster runs unchanged where there is no GPU. What PyTorch asks of a CUDA runtime is
// answered here:
//   its hooks, its device guard with streams and events   runtime.h
//   generators                                            generator.h
//   the clock of DistributedDataParallel                  backward_timer.h
//   storages, their place in the caching allocator        storage.h, allocator_settings.h
//   what each rank has for itself                         rank_gpus.h
// Everything is placed when virtual GPUs are first switched on, and answers like a PyTorch without
// CUDA while they are off.

// NOTE [Virtual GPUs without bytes]
// Tensors of one may also have a size and no bytes: their host storages are of device "meta", and
// an operator on them is the operator's shape function (its Meta kernel). What each takes of the
// GPU's memory is still a block of the allocator, and runs out as on a GPU. What a program reads of
// such a tensor is a stand-in (reads.h). Operators that PyTorch takes apart by device are taken
// apart as on CUDA.

constexpr c10::DeviceIndex kMaxGpus = 120;  // as C10_COMPILE_TIME_MAX_GPUS

// What every virtual GPU of this process is like.
struct VirtualGpus {
  c10::DeviceIndex count = 1;
  std::string name = "polyrank virtual GPU";
  std::int64_t memory_bytes = std::int64_t{80} << 30;
  int major = 9;  // compute capability
  int minor = 0;
  int num_multiprocessors = 132;
  bool has_bytes = true;
};

// Switches them on, for the whole process.
// Throws: UsageError if `gpus` makes no sense, or tensors live on a GPU that would be gone.
POLYRANK_API void switch_on_virtual_gpus(const VirtualGpus& gpus);

// Switches them off. Tensors that live on one can still be read, copied and freed.
POLYRANK_API void switch_off_virtual_gpus();

POLYRANK_API bool virtual_gpus_are_on() noexcept;

// Those that are on; with count 0 while none are.
POLYRANK_API VirtualGpus virtual_gpus();

// Whether tensors that are made on those that are on, or were last, have bytes.
POLYRANK_API bool gpus_have_bytes() noexcept;

// What the allocator of each may take of its memory. With bytes nothing runs out before the host's
// memory does: ranks in lockstep share a GPU.
// Units: bytes.
std::int64_t gpu_capacity();

// The calling thread's current GPU, 0 at first.
POLYRANK_API c10::DeviceIndex current_gpu() noexcept;

// Throws: c10::Error with CUDA's words if there is no such GPU.
POLYRANK_API void set_current_gpu(c10::DeviceIndex index);

// Throws: as set_current_gpu.
POLYRANK_API void check_gpu(c10::DeviceIndex index);

// Makes backward passes of the calling thread run on it, as the CPU's do, and not on a thread for
// each GPU: there is no other processor to keep busy, and what the thread knows (its rank, its
// mode) stays known. Every thread that works on a GPU comes here.
inline void run_backward_here() {
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
}

}  // namespace polyrank
