// Blocks of expandable segments: how they come by memory, and lose it.
#pragma once

#include <polyrank/allocator/allocator_state.h>
#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank {

// A block of at least `size` bytes that nobody uses and that is in no set, at the lowest address
// where an expandable segment of that stream and pool has room; a new segment where none has.
// Returns: null if the device has not enough memory; what it did give is free then.
// Source: try_allocate_expandable_block() of CUDACachingAllocator.cpp, PyTorch 2.13.
POLYRANK_API Block* grow_expandable(AllocatorState* state, BlockPool* pool, StreamNumber stream,
                                    std::int64_t size);

// Gives back the whole pages that a free block of an expandable segment covers; the segment too if
// nothing is left of it.
// Source: unmap_block() of CUDACachingAllocator.cpp, PyTorch 2.13.
POLYRANK_API void shrink_expandable(AllocatorState* state, Block* block);

}  // namespace polyrank
