#include <gtest/gtest.h>
#include <polyrank/allocator/block_pool.h>

namespace polyrank {
namespace {

TEST(BlockPool, BestFitIsTheSmallestOfItsStreamThatIsLargeEnough) {
  BlockStore store;
  BlockPool pool(false, &store);
  const auto add = [&](StreamNumber stream, std::int64_t size, Address address) {
    Block* block = store.make({.address = address, .size = size, .stream = stream, .pool = &pool});
    pool.add(block);
    return block;
  };
  Block* large = add(0, 30, 100);
  add(0, 20, 300);
  Block* lower = add(0, 20, 200);
  Block* other = add(1, 10, 400);
  EXPECT_EQ(*pool.best_fit(0, 10), lower);  // of equal ones the lower address
  EXPECT_EQ(*pool.best_fit(0, 21), large);
  EXPECT_EQ(*pool.best_fit(0, 31), other);  // of another stream: the caller looks
  EXPECT_EQ(pool.best_fit(1, 11), pool.free().end());
}

TEST(BlockPool, WhatIsCutMergesAgain) {
  BlockStore store;
  BlockPool pool(false, &store);
  Block* rest = store.make({.address = 1000, .size = 100, .pool = &pool});
  Block* front = pool.cut_front(rest, 30);
  Block* middle = pool.cut_front(rest, 20);
  EXPECT_EQ(front->address, 1000U);
  EXPECT_EQ(middle->address, 1030U);
  EXPECT_EQ(rest->address, 1050U);
  EXPECT_EQ(front->next, middle);
  EXPECT_EQ(middle->previous, front);
  EXPECT_EQ(middle->next, rest);
  front->is_allocated = true;
  pool.add(rest);
  EXPECT_EQ(pool.merge(middle, front), 0);  // in use
  EXPECT_EQ(pool.merge(middle, middle->next), 50);
  EXPECT_EQ(middle->size, 70);
  EXPECT_EQ(middle->next, nullptr);
  EXPECT_TRUE(pool.free().empty());
  front->is_allocated = false;
  pool.add(front);
  EXPECT_EQ(pool.merge(middle, front), 30);
  EXPECT_EQ(middle->address, 1000U);
  EXPECT_EQ(middle->size, 100);
  EXPECT_FALSE(middle->is_split());
  EXPECT_EQ(store.live().size(), 1U);
}

TEST(BlockPool, MappedAndUnmappedDoNotMerge) {
  BlockStore store;
  BlockPool pool(false, &store);
  Block* unmapped = store.make({.address = 1000, .size = 100, .pool = &pool});
  Block* mapped = pool.cut_front(unmapped, 30);
  unmapped->is_mapped = false;
  EXPECT_EQ(pool.merge(mapped, unmapped), 0);
}

TEST(BlockPool, AgeIsCountedInSearches) {
  BlockStore store;
  BlockPool pool(false, &store);
  pool.count_search();
  Block* block = store.make({.address = 1000, .size = 100, .pool = &pool});
  pool.add(block);
  pool.count_search();
  EXPECT_EQ(pool.num_searches() - block->born_at, 1);
}

}  // namespace
}  // namespace polyrank
