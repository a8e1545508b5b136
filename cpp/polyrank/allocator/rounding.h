// From the bytes of a request to those of a block, and of the segment that is made for it.
#pragma once

#include <polyrank/allocator/options.h>
#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank {

// Source: c10/core/AllocatorConfig.h and round_size(), get_allocation_size() of
// c10/cuda/CUDACachingAllocator.cpp, PyTorch 2.13.
constexpr std::int64_t kMinBlockSize = 512;
constexpr std::int64_t kLargestSmallSize = 1 * kMiB;  // larger blocks are of the large pool
constexpr std::int64_t kSmallSegmentSize = 2 * kMiB;
constexpr std::int64_t kSmallestOwnSegment = 10 * kMiB;  // from here on a request has a segment
constexpr std::int64_t kSegmentRounding = 2 * kMiB;

// The size of the block for a request.
// Ensures: (1) a multiple of 512, at least 512; (2) >= bytes; (3) monotonous in `bytes`;
//          (4) without divisions less than 512 above `bytes`;
//          (5) with d divisions, for sizes above 512 d, at most bytes / d above.
POLYRANK_API std::int64_t rounded_size(std::int64_t bytes, const AllocatorOptions& options);

// The size of the segment that is asked of the device for a block of `size` bytes.
// Ensures: (1) >= size; (2) 2 MiB for the small pool, `large_segment_size` below 10 MiB, else the
//          next multiple of 2 MiB.
POLYRANK_API std::int64_t segment_size(std::int64_t size, const AllocatorOptions& options);

constexpr bool is_small(std::int64_t size) noexcept { return size <= kLargestSmallSize; }

// The next multiple of `unit`.
constexpr std::int64_t rounded_up(std::int64_t bytes, std::int64_t unit) noexcept {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace polyrank
