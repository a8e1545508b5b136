// Pinned memory of the host: plain memory that PyTorch is told is pinned.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/StorageImpl.h>

namespace polyrank {

c10::Allocator* pinned_memory_allocator();

// From now on the memory of a CPU's storage is pinned; it stays where it is.
void pin_in_place(c10::StorageImpl* storage);

// Whether `data` lies in what that allocator gave out.
bool is_pinned(const void* data);

}  // namespace polyrank
