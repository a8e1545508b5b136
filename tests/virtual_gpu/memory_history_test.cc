#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/memory_history.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/storage.h>
#include <polyrank/world/module_scope.h>

#include <memory>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

class MemoryHistoryTest : public ::testing::Test {
 protected:
  MemoryHistoryTest() { keep_memory_history(history); }
  ~MemoryHistoryTest() override { keep_memory_history(nullptr); }

  GpusWithoutBytesOn on;  // NOLINT(*-non-private-*): a fixture's
  std::shared_ptr<MemoryHistory> history = std::make_shared<MemoryHistory>();
};

at::TensorOptions bytes_on_gpu() { return on_gpu().dtype(at::kByte); }

TEST_F(MemoryHistoryTest, PiecesLiveFromTheirMakingToTheirEnd) {
  const at::Tensor first = at::empty(1000, bytes_on_gpu());
  {
    const at::Tensor second = at::empty(2000, bytes_on_gpu());
  }
  const auto events = history->events();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[1].allocated, 1024 + 2048);
  EXPECT_EQ(events[2].allocated, 1024);
  EXPECT_EQ(history->alive_after(1).size(), 2U);
  ASSERT_EQ(history->alive_after(2).size(), 1U);
  EXPECT_EQ(history->alive_after(2)[0].bytes, 1024);
  EXPECT_EQ(history->alive_after(2)[0].operation, "aten::empty");
}

TEST_F(MemoryHistoryTest, EventsSayWhatTheAllocatorHolds) {
  std::vector<at::Tensor> tensors;
  for (int i = 1; i < 30; ++i) {
    tensors.push_back(at::empty(i * 70'001, bytes_on_gpu()));
    if (i % 3 == 0) {
      tensors.erase(tensors.begin());
    }
  }
  const AllocatorStatistics statistics = rank_gpus()->statistics(0);
  EXPECT_EQ(history->events().back().allocated, statistics.allocated_bytes.all.current);
  EXPECT_EQ(history->events().back().reserved, statistics.reserved_bytes.all.current);
  std::int64_t sum = 0;
  for (const MemoryPiece& piece :
       history->alive_after(static_cast<std::int64_t>(history->events().size()) - 1)) {
    sum += piece.bytes;
  }
  EXPECT_EQ(sum, statistics.allocated_bytes.all.current);
}

TEST_F(MemoryHistoryTest, TheFirstOwnerStays) {
  const at::Tensor tensor = at::empty(8, bytes_on_gpu());
  set_memory_owner(tensor, "parameters", "weight");
  set_memory_owner(tensor, "gradients", "other");
  set_memory_owner(at::empty(8), "gradients", "on the CPU");  // nothing
  EXPECT_EQ(history->alive_after(0)[0].owner, "parameters");
  EXPECT_EQ(history->alive_after(0)[0].detail, "weight");
}

TEST_F(MemoryHistoryTest, StepsAreCounted) {
  const at::Tensor first = at::empty(8, bytes_on_gpu());
  history->next_step();
  const at::Tensor second = at::empty(8, bytes_on_gpu());
  EXPECT_EQ(history->events()[0].step, 0);
  EXPECT_EQ(history->events()[1].step, 1);
}

TEST_F(MemoryHistoryTest, WhatAModuleMadeAndBackwardFoundIsSaved) {
  at::Tensor weight = at::empty({4, 4}, on_gpu()).requires_grad_();
  at::Tensor output;
  {
    const ModuleScope module("linear");
    output = at::mm(weight, weight).exp();
  }
  output.sum().backward();
  const auto events = history->events();
  std::int64_t num_saved = 0;
  for (const MemoryPiece& piece : history->alive_after(3)) {
    num_saved += piece.owner == "saved for backward" ? 1 : 0;
  }
  EXPECT_GE(num_saved, 1);
  EXPECT_TRUE(weight.grad().defined());
}

}  // namespace
}  // namespace polyrank
