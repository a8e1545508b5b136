// What PyTorch asks of a CUDA runtime, answered for virtual GPUs.
#pragma once

#include <c10/core/Stream.h>
#include <polyrank/core/export.h>

namespace polyrank {

// Places hooks, device guard and allocator where PyTorch looks for CUDA's. While virtual GPUs are
// off they answer as a PyTorch without CUDA does.
// Throws: UsageError if this PyTorch has a CUDA runtime of its own.
void place_gpu_runtime();

}  // namespace polyrank
