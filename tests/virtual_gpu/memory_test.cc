#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/memory.h>

namespace polyrank {
namespace {

constexpr std::int64_t kSegment = std::int64_t{2} << 20;

TEST(Memory, CountsBlocksOf512Bytes) {
  GpuMemory memory;
  memory.add_block(1);
  memory.add_block(513);
  EXPECT_EQ(memory.allocated_bytes.current, 512 + 1024);
  EXPECT_EQ(memory.requested_bytes.current, 514);
  EXPECT_EQ(memory.blocks.current, 2);
  memory.remove_block(513);
  memory.remove_block(1);
  EXPECT_EQ(memory.allocated_bytes.current, 0);
  EXPECT_EQ(memory.allocated_bytes.freed, 512 + 1024);
  memory.reset_accumulated();
  EXPECT_EQ(memory.allocated_bytes.freed, 0);
}

TEST(Memory, OfNothingCountsNothing) {
  GpuMemory memory;
  memory.add_block(0);
  EXPECT_EQ(memory.blocks.allocated, 0);
  memory.remove_block(0);
  EXPECT_EQ(memory.blocks.freed, 0);
}

TEST(Memory, PeaksStayUntilTheyAreReset) {
  GpuMemory memory;
  memory.add_block(4096);
  memory.remove_block(4096);
  EXPECT_EQ(memory.allocated_bytes.peak, 4096);
  memory.reset_peaks();
  EXPECT_EQ(memory.allocated_bytes.peak, 0);
}

TEST(Memory, ReserveFollowsUpAndIsReleased) {
  GpuMemory memory;
  memory.add_block(kSegment + 1);
  EXPECT_EQ(memory.reserved_bytes.current, 2 * kSegment);
  memory.remove_block(kSegment + 1);
  EXPECT_EQ(memory.reserved_bytes.current, 2 * kSegment);
  memory.release_reserve();
  EXPECT_EQ(memory.reserved_bytes.current, 0);
}

}  // namespace
}  // namespace polyrank
