// What the program asked of CUDA's allocator: PYTORCH_ALLOC_CONF, and settings made later.
#pragma once

#include <polyrank/allocator/options.h>
#include <polyrank/core/export.h>

#include <string>

namespace polyrank {

// Settings are kept, read and refused by PyTorch's own AcceleratorAllocatorConfig. What a PyTorch
// without CUDA does not know are the keys that are CUDA's alone: those are made known to it, and
// the ones that change where memory comes from (another backend) are refused.

// Reads PYTORCH_ALLOC_CONF, or PYTORCH_CUDA_ALLOC_CONF where that is not set. As CUDA does when it
// is started. Throws: what PyTorch throws of a wrong text; UnsupportedOpError for another backend.
POLYRANK_API void read_allocator_settings();

// What is set now, also by `torch.cuda.memory._set_allocator_settings()`. Cost: some 20 ns.
POLYRANK_API AllocatorOptions allocator_options();

}  // namespace polyrank
