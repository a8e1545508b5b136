// What is said of operators that nothing runs on a virtual GPU.
#pragma once

#include <polyrank/core/export.h>

namespace polyrank {

// Operators without a kernel for a GPU raise an error that says why, and what to do: PyTorch has
// some for GPUs alone, so there is none of the CPU's that could run. It is a NotImplementedError,
// as PyTorch's, and begins as that does. Later calls do nothing.
POLYRANK_API void place_refusals();

}  // namespace polyrank
