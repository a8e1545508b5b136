#include <gtest/gtest.h>
#include <polyrank/allocator/expandable_blocks.h>

namespace polyrank {
namespace {

TEST(ExpandableBlocks, OneSegmentGrowsPageByPage) {
  AllocatorState state(100 * kMiB, {});
  Block* first = grow_expandable(&state, &state.large_pool, 0, 5 * kMiB);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->size, 20 * kMiB);
  first->is_allocated = true;
  Block* second = grow_expandable(&state, &state.large_pool, 0, 25 * kMiB);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->address, first->address + static_cast<Address>(first->size));
  EXPECT_EQ(second->size, 40 * kMiB);
  EXPECT_EQ(state.expandable_segments.size(), 1U);
  EXPECT_EQ(state.reserved(), 60 * kMiB);
  EXPECT_EQ(state.device.taken(), 60 * kMiB);
}

TEST(ExpandableBlocks, AFreeBlockGrowsByWhatItLacks) {
  AllocatorState state(100 * kMiB, {});
  Block* block = grow_expandable(&state, &state.large_pool, 0, 15 * kMiB);
  state.large_pool.add(block);
  Block* grown = grow_expandable(&state, &state.large_pool, 0, 30 * kMiB);
  ASSERT_NE(grown, nullptr);
  EXPECT_EQ(grown->size, 40 * kMiB);
  EXPECT_EQ(state.reserved(), 40 * kMiB);
}

TEST(ExpandableBlocks, StreamsAndPoolsHaveSegmentsOfTheirOwn) {
  AllocatorState state(100 * kMiB, {});
  grow_expandable(&state, &state.large_pool, 0, 5 * kMiB);
  grow_expandable(&state, &state.large_pool, 1, 5 * kMiB);
  grow_expandable(&state, &state.small_pool, 0, kKiB);
  EXPECT_EQ(state.expandable_segments.size(), 3U);
  EXPECT_EQ(state.reserved(), 42 * kMiB);
}

TEST(ExpandableBlocks, WithoutRoomOnTheDeviceThereIsNone) {
  AllocatorState state(30 * kMiB, {});
  EXPECT_EQ(grow_expandable(&state, &state.large_pool, 0, 25 * kMiB), nullptr);
  EXPECT_EQ(state.reserved(), 0);
}

TEST(ExpandableBlocks, WholePagesAreGivenBack) {
  AllocatorState state(100 * kMiB, {});
  Block* block = grow_expandable(&state, &state.large_pool, 0, 60 * kMiB);
  Block* front = state.large_pool.cut_front(block, 5 * kMiB);
  front->is_allocated = true;
  state.large_pool.add(block);
  shrink_expandable(&state, block);
  EXPECT_EQ(state.reserved(), 20 * kMiB);
  ASSERT_EQ(state.large_pool.free().size(), 1U);
  EXPECT_EQ((*state.large_pool.free().begin())->size, 15 * kMiB);  // up to the page's end
  ASSERT_EQ(state.large_pool.unmapped().size(), 1U);
  EXPECT_EQ((*state.large_pool.unmapped().begin())->size, (120 - 20) * kMiB);
}

TEST(ExpandableBlocks, ASegmentWithoutMemoryIsGone) {
  AllocatorState state(100 * kMiB, {});
  Block* block = grow_expandable(&state, &state.large_pool, 0, 60 * kMiB);
  state.large_pool.add(block);
  shrink_expandable(&state, block);
  EXPECT_TRUE(state.expandable_segments.empty());
  EXPECT_TRUE(state.store.live().empty());
  EXPECT_TRUE(state.large_pool.unmapped().empty());
  EXPECT_EQ(state.device.taken(), 0);
}

}  // namespace
}  // namespace polyrank
