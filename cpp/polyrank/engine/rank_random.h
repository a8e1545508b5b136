// Seeds and generator states of ranks, as LocalTensors and rank-dependent ints.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/SymInt.h>
#include <polyrank/core/export.h>
#include <polyrank/engine/lockstep_mode.h>

namespace polyrank {

// Seeds the streams of all ranks on the CPU and on all of CUDA's devices; `seed` may differ between
// ranks.
// Throws: UsageError if `seed` does not live on the mode's ranks.
POLYRANK_API void seed_ranks(LockstepMode& mode, const c10::SymInt& seed);

// The same on one device.
POLYRANK_API void seed_ranks_on(LockstepMode& mode, c10::Device device, const c10::SymInt& seed);

// The seed that each rank's stream on `device` started from.
POLYRANK_API c10::SymInt initial_seeds(LockstepMode& mode, c10::Device device = c10::kCPU);

// The state of each rank's stream on `device`: a LocalTensor of bytes, one cohort per state.
POLYRANK_API at::Tensor rank_rng_state(LockstepMode& mode, c10::Device device);

// Sets the state of each rank's stream; a plain tensor sets the same state on all ranks.
// Throws: UsageError if `state` is a LocalTensor over other ranks than the mode's.
POLYRANK_API void set_rank_rng_state(LockstepMode& mode, c10::Device device,
                                     const at::Tensor& state);

}  // namespace polyrank
