// Free segments on their way back to the device.
#pragma once

#include <polyrank/allocator/allocator_state.h>
#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank {

// Gives back every segment of the pool that nobody uses, and the free pages of expandable ones.
// Source: release_blocks() of CUDACachingAllocator.cpp, PyTorch 2.13.
POLYRANK_API void release_unused(AllocatorState* state, BlockPool* pool);

// Gives back as few blocks of max_split_size or more as hold `size` bytes.
// Returns: whether that was possible. Source: release_available_cached_blocks(), the same.
POLYRANK_API bool release_oversize(AllocatorState* state, BlockPool* pool, StreamNumber stream,
                                   std::int64_t size);

// Where more is reserved than `garbage_collection_threshold` of the allowed memory: gives back
// segments of the large pool, those first that were free for longest.
// Source: garbage_collect_cached_blocks(), the same.
POLYRANK_API void release_old(AllocatorState* state);

}  // namespace polyrank
