// The figures of `torch.cuda.memory_stats()`.
#pragma once

#include <polyrank/core/export.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace polyrank {

// One figure over time.
struct POLYRANK_API MemoryFigure {
  std::int64_t current = 0;
  std::int64_t peak = 0;
  std::int64_t allocated = 0;  // all that was ever added
  std::int64_t freed = 0;      // all that was ever taken away

  void increase(std::int64_t amount) noexcept;
  void decrease(std::int64_t amount) noexcept;
  void reset_peak() noexcept { peak = current; }
  void reset_accumulated() noexcept { allocated = freed = 0; }
};

// A figure of both pools and of each.
struct POLYRANK_API PoolFigure {
  MemoryFigure all;
  MemoryFigure small_pool;
  MemoryFigure large_pool;

  void increase(bool is_small, std::int64_t amount) noexcept;
  void decrease(bool is_small, std::int64_t amount) noexcept;
};

// Names are those of PyTorch. Units: bytes, or a number of blocks or segments.
// Source: c10/core/CachingDeviceAllocator.h of PyTorch 2.13.
struct POLYRANK_API AllocatorStatistics {
  PoolFigure allocation;  // blocks that the program holds
  PoolFigure segment;     // got from the device as a whole
  PoolFigure active;      // blocks that it holds, or that a stream may still use
  PoolFigure
      inactive_split;  // free blocks that can't be given back, since their neighbours are used
  PoolFigure allocated_bytes;
  PoolFigure reserved_bytes;
  PoolFigure active_bytes;
  PoolFigure inactive_split_bytes;
  PoolFigure requested_bytes;         // before rounding
  MemoryFigure oversize_allocations;  // of max_split_size or more
  MemoryFigure oversize_segments;
  std::int64_t num_alloc_retries = 0;  // after everything free was given back
  std::int64_t num_ooms = 0;
  std::int64_t num_sync_all_streams = 0;
  std::int64_t num_device_alloc = 0;
  std::int64_t num_device_free = 0;

  void reset_peaks() noexcept;
  void reset_accumulated() noexcept;
};

// The figures by name, for those who want them all.
POLYRANK_API const std::array<std::pair<std::string_view, PoolFigure AllocatorStatistics::*>, 9>&
pool_figures() noexcept;
POLYRANK_API const std::array<std::pair<std::string_view, MemoryFigure AllocatorStatistics::*>, 2>&
oversize_figures() noexcept;
POLYRANK_API const std::array<std::pair<std::string_view, std::int64_t AllocatorStatistics::*>, 5>&
counts() noexcept;

}  // namespace polyrank
