#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/gpu_block.h>
#include <polyrank/virtual_gpu/memory_history.h>
#include <polyrank/virtual_gpu/rank_gpus.h>

#include <memory>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

std::int64_t allocated() { return rank_gpus()->statistics(0).allocated_bytes.all.current; }

TEST(GpuBlock, IsAllocatedForAsLongAsItLives) {
  const GpusWithoutBytesOn on;
  {
    const GpuBlock block(rank_gpus().get(), 0, 1000);
    EXPECT_EQ(allocated(), 1024);
    EXPECT_NE(block.address(), 0);
  }
  EXPECT_EQ(allocated(), 0);
}

TEST(GpuBlock, IsInTheHistory) {
  const GpusWithoutBytesOn on;
  const auto history = std::make_shared<MemoryHistory>();
  keep_memory_history(history);
  {
    const GpuBlock block(rank_gpus().get(), 0, 1000);
    block.set_owner("workspaces", "one");
  }
  keep_memory_history(nullptr);
  ASSERT_EQ(history->pieces().size(), 1);
  EXPECT_EQ(history->pieces()[0].bytes, 1024);
  EXPECT_EQ(history->pieces()[0].owner, "workspaces");
  EXPECT_EQ(history->pieces()[0].freed_at, 1);
}

TEST(GpuBlock, RunsOutOfMemoryAsPyTorchDoes) {
  const GpusWithoutBytesOn on(std::int64_t{1} << 20);
  EXPECT_THROW(GpuBlock(rank_gpus().get(), 0, std::int64_t{1} << 30), c10::OutOfMemoryError);
}

}  // namespace
}  // namespace polyrank
