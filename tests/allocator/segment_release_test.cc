#include <gtest/gtest.h>
#include <polyrank/allocator/segment_release.h>

namespace polyrank {
namespace {

// A free segment of the large pool.
Block* add_segment(AllocatorState* state, std::int64_t size, StreamNumber stream = 0) {
  EXPECT_TRUE(state->device.take(size));
  state->statistics.reserved_bytes.increase(false, size);
  state->statistics.segment.increase(false, 1);
  Block* block = state->store.make({.address = state->device.new_addresses(size),
                                    .size = size,
                                    .stream = stream,
                                    .pool = &state->large_pool});
  state->large_pool.add(block);
  return block;
}

TEST(SegmentRelease, OnlyWholeSegmentsAreGivenBack) {
  AllocatorState state(1000 * kMiB, {});
  add_segment(&state, 40 * kMiB);
  Block* split = add_segment(&state, 60 * kMiB);
  state.large_pool.free().erase(split);
  state.large_pool.cut_front(split, 20 * kMiB)->is_allocated = true;
  state.large_pool.add(split);
  release_unused(&state, &state.large_pool);
  EXPECT_EQ(state.reserved(), 60 * kMiB);
  EXPECT_EQ(state.device.taken(), 60 * kMiB);
  EXPECT_EQ(state.large_pool.free().size(), 1U);
}

TEST(SegmentRelease, OfOversizeSegmentsAsFewAsAreNeeded) {
  AllocatorOptions options;
  options.max_split_size = 50 * kMiB;
  AllocatorState state(1000 * kMiB, options);
  add_segment(&state, 40 * kMiB);
  add_segment(&state, 60 * kMiB);
  add_segment(&state, 80 * kMiB);
  EXPECT_FALSE(release_oversize(&state, &state.large_pool, 1, 20 * kMiB));  // another stream
  EXPECT_TRUE(release_oversize(&state, &state.large_pool, 0, 70 * kMiB));   // one is enough
  EXPECT_EQ(state.reserved(), 100 * kMiB);
  EXPECT_FALSE(
      release_oversize(&state, &state.large_pool, 0, 70 * kMiB));  // 40 MiB is not oversize
  EXPECT_EQ(state.reserved(), 40 * kMiB);
}

TEST(SegmentRelease, WithoutALimitNothingIsOversize) {
  AllocatorState state(1000 * kMiB, {});
  add_segment(&state, 80 * kMiB);
  EXPECT_FALSE(release_oversize(&state, &state.large_pool, 0, 80 * kMiB));
}

TEST(SegmentRelease, OldSegmentsGoFirst) {
  AllocatorOptions options;
  options.garbage_collection_threshold = 0.5;
  AllocatorState state(200 * kMiB, options);
  state.allowed_bytes = 200 * kMiB;
  const Block* old = add_segment(&state, 40 * kMiB);
  for (int i = 0; i < 10; ++i) {
    state.large_pool.count_search();
  }
  const Block* recent = add_segment(&state, 80 * kMiB);
  release_old(&state);
  EXPECT_FALSE(old->is_live);
  EXPECT_TRUE(recent->is_live);
  EXPECT_EQ(state.reserved(), 80 * kMiB);
  release_old(&state);  // below the threshold
  EXPECT_EQ(state.reserved(), 80 * kMiB);
}

}  // namespace
}  // namespace polyrank
