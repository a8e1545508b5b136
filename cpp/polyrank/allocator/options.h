// What PYTORCH_ALLOC_CONF (PYTORCH_CUDA_ALLOC_CONF) says of a GPU's memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace polyrank {

constexpr std::int64_t kKiB = std::int64_t{1} << 10;
constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

// Units: bytes. The defaults are PyTorch's.
// Source: c10/core/AllocatorConfig.h of PyTorch 2.13.
struct AllocatorOptions {
  // Free blocks of this size or more are not split.
  std::int64_t max_split_size = kUnlimited;
  // How much larger than the request such a block may be.
  std::int64_t max_non_split_rounding = 20 * kMiB;
  // What is asked of the device for requests between 1 and 10 MiB.
  std::int64_t large_segment_size = 20 * kMiB;
  // Into how many parts the range between two powers of two is divided, for sizes from 1 MiB, 2
  // MiB, … on; 0 or 1: sizes are rounded to blocks of 512 bytes.
  static constexpr std::size_t kNumIntervals = 16;
  std::array<std::int64_t, kNumIntervals> roundup_power2_divisions{};
  // Share of the allowed memory from which on old free segments are given back; 0: never.
  double garbage_collection_threshold = 0;
  // One segment per stream and pool that grows page by page.
  bool expandable_segments = false;
};

}  // namespace polyrank
