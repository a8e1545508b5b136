#include <polyrank/allocator/caching_allocator.h>
#include <polyrank/allocator/rounding.h>

#include <random>
#include <vector>

#include "laws.h"

namespace polyrank {
namespace {

constexpr std::int64_t kGiB = kKiB * kMiB;

TEST(CachingAllocator, SmallRequestsShareASegment) {
  CachingAllocator allocator(kGiB);
  Block* first = allocator.allocate(1, 0);
  Block* second = allocator.allocate(513, 0);
  EXPECT_EQ(first->size, 512);
  EXPECT_EQ(second->size, 1024);
  EXPECT_EQ(second->address, first->address + 512);
  EXPECT_EQ(allocator.statistics().reserved_bytes.small_pool.current, 2 * kMiB);
  EXPECT_EQ(allocator.statistics().requested_bytes.all.current, 514);
  check_laws(allocator, {first, second});
}

TEST(CachingAllocator, AboveOneMiBIsTheLargePool) {
  CachingAllocator allocator(kGiB);
  Block* small = allocator.allocate(kMiB, 0);
  Block* large = allocator.allocate(kMiB + 1, 0);
  const AllocatorStatistics& statistics = allocator.statistics();
  EXPECT_EQ(statistics.reserved_bytes.small_pool.current, 2 * kMiB);
  EXPECT_EQ(statistics.reserved_bytes.large_pool.current, 20 * kMiB);
  EXPECT_EQ(statistics.inactive_split.large_pool.current, 1);
  check_laws(allocator, {small, large});
}

TEST(CachingAllocator, TheSmallestThatIsLargeEnoughIsTaken) {
  CachingAllocator allocator(kGiB);
  std::vector<Block*> blocks;
  for (const std::int64_t size : {60, 30, 40}) {
    blocks.push_back(allocator.allocate(size * kMiB, 0));
  }
  const Address of_forty = blocks[2]->address;
  for (Block* block : blocks) {
    allocator.free(block);
  }
  Block* found = allocator.allocate(35 * kMiB, 0);
  EXPECT_EQ(found->address, of_forty);  // (3)
  EXPECT_EQ(found->size, 35 * kMiB);    // what is left is more than 1 MiB: split
  Block* whole = allocator.allocate(29 * kMiB, 0);
  EXPECT_EQ(whole->size, 30 * kMiB);  // 1 MiB is left: not split
  check_laws(allocator, {found, whole});
}

TEST(CachingAllocator, AFreedBlockMergesWithItsNeighbours) {
  CachingAllocator allocator(kGiB);
  std::vector<Block*> blocks(3);
  for (Block*& block : blocks) {
    block = allocator.allocate(6 * kMiB, 0);
  }
  ASSERT_EQ(allocator.snapshot().size(), 1U);
  allocator.free(blocks[0]);
  allocator.free(blocks[2]);
  check_laws(allocator, {blocks[1]});
  allocator.free(blocks[1]);
  ASSERT_EQ(allocator.snapshot().at(0).blocks.size(), 1U);  // (5)
  EXPECT_EQ(allocator.statistics().inactive_split.all.current, 0);
  EXPECT_EQ(allocator.statistics().inactive_split_bytes.all.current, 0);
  check_laws(allocator, {});
}

TEST(CachingAllocator, AStreamsBlocksAreItsOwn) {
  CachingAllocator allocator(kGiB);
  Block* block = allocator.allocate(30 * kMiB, 0);
  allocator.free(block);
  Block* other = allocator.allocate(30 * kMiB, 1);
  EXPECT_EQ(allocator.statistics().reserved_bytes.all.current, 60 * kMiB);
  check_laws(allocator, {other});
}

TEST(CachingAllocator, WhatAStreamUsesStaysUntilItIsDone) {
  CachingAllocator allocator(kGiB);
  Block* block = allocator.allocate(30 * kMiB, 0);
  allocator.record_stream(block, 0);  // its own stream needs no wait
  allocator.record_stream(block, 7);
  allocator.record_stream(block, 7);
  allocator.free(block);
  EXPECT_EQ(allocator.statistics().allocated_bytes.all.current, 0);
  EXPECT_EQ(allocator.statistics().active_bytes.all.current, 30 * kMiB);  // (6)
  Block* second = allocator.allocate(30 * kMiB, 0);
  EXPECT_EQ(allocator.statistics().reserved_bytes.all.current, 60 * kMiB);  // (6)
  check_laws(allocator, {second});
  allocator.streams().host_wait(allocator.streams().record(7));
  Block* third = allocator.allocate(30 * kMiB, 0);
  EXPECT_EQ(allocator.statistics().reserved_bytes.all.current, 60 * kMiB);  // (6)
  check_laws(allocator, {second, third});
}

TEST(CachingAllocator, WhenFullWhatIsFreeIsGivenBack) {
  CachingAllocator allocator(100 * kMiB);
  Block* first = allocator.allocate(40 * kMiB, 0);
  Block* second = allocator.allocate(40 * kMiB, 0);
  allocator.record_stream(second, 3);  // to be waited for
  allocator.free(first);
  allocator.free(second);
  Block* large = allocator.allocate(90 * kMiB, 0);
  EXPECT_EQ(allocator.statistics().num_alloc_retries, 1);
  EXPECT_EQ(allocator.statistics().num_ooms, 0);
  check_laws(allocator, {large});
}

TEST(CachingAllocator, WithoutRoomItIsAnErrorInPyTorchsWords) {
  CachingAllocator allocator(100 * kMiB, {}, 3);
  const std::vector<Block*> held{allocator.allocate(60 * kMiB, 0)};
  try {
    allocator.allocate(50 * kMiB, 0);
    FAIL();
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(
        std::string(error.what())
            .find("CUDA out of memory. Tried to allocate 50.00 MiB. GPU 3 has a total capacity of "
                  "100.00 MiB of which 40.00 MiB is free."),
        0U);
    EXPECT_EQ(error.figures().reserved, 60 * kMiB);
  }
  EXPECT_EQ(allocator.statistics().num_ooms, 1);
  check_laws(allocator, held);  // the program may go on
}

TEST(CachingAllocator, OversizeBlocksAreNotSplit) {
  AllocatorOptions options;
  options.max_split_size = 50 * kMiB;
  CachingAllocator allocator(kGiB, options);
  allocator.free(allocator.allocate(80 * kMiB, 0));
  Block* small = allocator.allocate(20 * kMiB, 0);  // not from the 80 MiB
  EXPECT_EQ(allocator.statistics().reserved_bytes.all.current, 100 * kMiB);
  Block* within = allocator.allocate(70 * kMiB, 0);
  EXPECT_EQ(within->size, 80 * kMiB);
  EXPECT_EQ(allocator.statistics().oversize_allocations.current, 1);
  allocator.free(within);
  Block* too_small = allocator.allocate(60 * kMiB, 0);  // 20 MiB or more would be lost
  EXPECT_EQ(too_small->size, 60 * kMiB);
  check_laws(allocator, {small, too_small});
}

TEST(CachingAllocator, AFractionIsALimit) {
  CachingAllocator allocator(100 * kMiB);
  allocator.set_memory_fraction(0.5);
  Block* block = allocator.allocate(40 * kMiB, 0);
  EXPECT_THROW(allocator.allocate(20 * kMiB, 0), OutOfMemory);
  check_laws(allocator, {block});
}

TEST(CachingAllocator, ExpandableSegmentsLeaveNoSlivers) {
  AllocatorOptions options;
  options.expandable_segments = true;
  CachingAllocator allocator(kGiB, options);
  Block* first = allocator.allocate(30 * kMiB, 0);
  Block* second = allocator.allocate(30 * kMiB, 0);
  EXPECT_EQ(allocator.statistics().reserved_bytes.all.current, 60 * kMiB);
  EXPECT_EQ(allocator.statistics().segment.all.current, 0);  // as PyTorch counts
  allocator.free(first);
  Block* larger = allocator.allocate(35 * kMiB, 0);  // behind the second, not in the gap
  EXPECT_EQ(larger->address, second->address + static_cast<Address>(second->size));
  check_laws(allocator, {second, larger});
  allocator.empty_cache();
  EXPECT_EQ(allocator.statistics().reserved_bytes.all.current, (100 - 20) * kMiB);
  check_laws(allocator, {second, larger});
}

// A block of a random size on a random stream; null if there is no room.
template <class Draw>
Block* allocated_if_there_is_room(CachingAllocator* allocator, const Draw& draw) {
  try {
    return allocator->allocate(1 + draw(draw(2) == 0 ? 2 * kMiB : 40 * kMiB), draw(3));
  } catch (const OutOfMemory&) {
    return nullptr;
  }
}

// Random programs under all options: the laws hold at each step, and all comes back in the end.
TEST(CachingAllocator, LawsHoldInRandomPrograms) {
  std::mt19937 random(7);  // NOLINT(bugprone-random-generator-seed): the same programs on every run
  const auto draw = [&](std::int64_t end) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(end));
  };
  for (int program = 0; program < 60; ++program) {
    AllocatorOptions options;
    options.expandable_segments = draw(2) == 0;
    if (draw(3) == 0) options.max_split_size = 25 * kMiB;
    if (draw(3) == 0) options.garbage_collection_threshold = 0.6;
    options.roundup_power2_divisions.fill(draw(3) == 0 ? 4 : 0);
    CachingAllocator allocator(200 * kMiB, options);
    if (draw(2) == 0) allocator.set_memory_fraction(0.9);
    std::vector<Block*> held;
    for (int step = 0; step < 120; ++step) {
      const std::int64_t choice = draw(10);
      if (choice < 5 || held.empty()) {
        if (Block* block = allocated_if_there_is_room(&allocator, draw)) {
          held.push_back(block);
        }
      } else if (choice < 9) {
        const auto at = held.begin() + draw(static_cast<std::int64_t>(held.size()));
        if (draw(4) == 0) {
          allocator.record_stream(*at, draw(3));
        }
        allocator.free(*at);
        held.erase(at);
      } else if (draw(2) == 0) {
        allocator.streams().host_wait_for_all();
      } else {
        allocator.empty_cache();
      }
      ASSERT_NO_FATAL_FAILURE(check_laws(allocator, held));
    }
    for (Block* block : held) {
      allocator.free(block);
    }
    allocator.empty_cache();
    ASSERT_NO_FATAL_FAILURE(check_laws(allocator, {}));
    ASSERT_EQ(allocator.device().taken(), 0);
  }
}

}  // namespace
}  // namespace polyrank
