// What the parts of the caching allocator work on.
#pragma once

#include <polyrank/allocator/block_pool.h>
#include <polyrank/allocator/device_memory.h>
#include <polyrank/allocator/expandable_segment.h>
#include <polyrank/allocator/options.h>
#include <polyrank/allocator/statistics.h>

#include <list>
#include <optional>

namespace polyrank {

struct AllocatorState {
  AllocatorState(std::int64_t capacity, const AllocatorOptions& given)
      : options(given), device(capacity) {}
  ~AllocatorState() = default;
  AllocatorState(const AllocatorState&) = delete;  // pools point to the store
  AllocatorState& operator=(const AllocatorState&) = delete;

  std::int64_t reserved() const noexcept { return statistics.reserved_bytes.all.current; }

  AllocatorOptions options;
  DeviceMemory device;
  AllocatorStatistics statistics;
  BlockStore store;
  BlockPool small_pool{/*is_small=*/true, &store};
  BlockPool large_pool{/*is_small=*/false, &store};
  std::list<ExpandableSegment> expandable_segments;
  std::optional<std::int64_t> allowed_bytes;  // set_memory_fraction()'s
};

}  // namespace polyrank
