// Pinned memory of the host: plain memory that PyTorch is told is pinned.
#pragma once

#include <c10/core/Allocator.h>

namespace polyrank {

c10::Allocator* pinned_memory_allocator();

// Whether `data` lies in what that allocator gave out.
bool is_pinned(const void* data);

}  // namespace polyrank
