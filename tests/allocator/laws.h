// The laws of the caching allocator, checked on what a snapshot of it shows.
#pragma once

#include <gtest/gtest.h>
#include <polyrank/allocator/caching_allocator.h>
#include <polyrank/allocator/rounding.h>

#include <cstdint>
#include <vector>

namespace polyrank {

// Numbers are those of CachingAllocator::allocate() and of NOTE [Blocks and segments].
// `held` are the blocks that the program holds.
inline void check_laws(CachingAllocator& allocator, const std::vector<Block*>& held) {
  std::int64_t allocated = 0;
  std::int64_t active = 0;
  std::int64_t reserved = 0;
  std::int64_t num_allocated = 0;
  Address last_end = 0;
  for (const SegmentSnapshot& segment : allocator.snapshot()) {
    ASSERT_GE(segment.address, last_end);  // (1)
    Address end = segment.address;
    bool is_last_free = false;
    for (const BlockSnapshot& block : segment.blocks) {
      ASSERT_EQ(block.address, end);  // (2), (1) of the note
      end += static_cast<Address>(block.size);
      ASSERT_FALSE(is_last_free && !block.is_active);  // (2) of the note: neighbours merge
      is_last_free = !block.is_active;
      ASSERT_EQ(block.size % kMinBlockSize, 0);
      num_allocated += block.is_allocated ? 1 : 0;
    }
    ASSERT_EQ(end, segment.address + static_cast<Address>(segment.total_size));  // (2)
    allocated += segment.allocated_size;
    active += segment.active_size;
    reserved += segment.total_size;
    last_end = end;
  }
  const AllocatorStatistics& statistics = allocator.statistics();
  ASSERT_EQ(statistics.allocated_bytes.all.current, allocated);  // (4)
  ASSERT_EQ(statistics.active_bytes.all.current, active);        // (4)
  ASSERT_EQ(statistics.reserved_bytes.all.current, reserved);    // (4)
  ASSERT_EQ(allocator.device().taken(), reserved);               // (4)
  ASSERT_EQ(statistics.allocation.all.current, num_allocated);
  ASSERT_EQ(num_allocated, static_cast<std::int64_t>(held.size()));
  for (const Block* block : held) {
    ASSERT_TRUE(block->is_allocated);
    ASSERT_GE(block->size, block->requested_size);
  }
  for (const auto& [name, member] : pool_figures()) {
    const PoolFigure& figure = statistics.*member;
    ASSERT_EQ(figure.all.current, figure.small_pool.current + figure.large_pool.current) << name;
    ASSERT_EQ(figure.all.current, figure.all.allocated - figure.all.freed) << name;
    ASSERT_GE(figure.all.peak, figure.all.current) << name;
    ASSERT_GE(figure.all.current, 0) << name;
  }
}

}  // namespace polyrank
