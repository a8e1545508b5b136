#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/reduction_memory.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

constexpr std::int64_t kMultiprocessors = 132;
constexpr std::int64_t kThreads = 2048;  // of each

PieceSizes staged(const at::Tensor& self, std::vector<std::int64_t> dims) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::sum", "dim_IntList");
  const torch::jit::Stack stack{self, std::move(dims), false, c10::IValue()};
  return staged_by_reduction(OperatorArguments(op, stack));
}

at::Tensor meta(at::IntArrayRef sizes, at::ScalarType dtype = at::kFloat) {
  return at::empty(sizes, at::TensorOptions().device(c10::kMeta).dtype(dtype));
}

TEST(ReductionMemory, ColumnsAreStagedForAllThreads) {
  const GpusWithoutBytesOn on;
  // Blocks of 32 x 4 threads, each with four neighboring columns: 32 blocks for all columns, and
  // 2,112 at once on the GPU, so that 66 share a column.
  constexpr std::int64_t kShares = kMultiprocessors * (kThreads / 128) / 32;
  const PieceSizes expected{4096 * kShares * 4 * 32 * 4, 128};
  EXPECT_EQ(staged(meta({16384, 4096}), {0}), expected);
  EXPECT_EQ(staged(meta({2, 8192, 4096}), {0, 1}), expected);
  EXPECT_EQ(staged(meta({2, 8192, 4096}), {-3, -2}), expected);
  EXPECT_EQ(staged(meta({16384, 4096}, at::kBFloat16), {0}), expected);  // adds up in float
  EXPECT_EQ(staged(meta({4096, 16384}).t(), {1}).size(), 2);
}

TEST(ReductionMemory, OneResultIsStagedForItsBlocks) {
  const GpusWithoutBytesOn on;
  // Blocks of 512 threads, four of them on each multiprocessor.
  constexpr std::int64_t kBlocks = kMultiprocessors * (kThreads / 512);
  const PieceSizes all = staged(meta({4096, 4096}), {});
  EXPECT_EQ(all, (PieceSizes{4 * kBlocks, 4}));
  EXPECT_EQ(staged(meta({4096, 4096}), {0, 1}), all);
  EXPECT_EQ(staged(meta({4096, 4096}, at::kInt), {})[0], 2 * all[0]);
}

TEST(ReductionMemory, ManyResultsAndFewValuesAreNotStaged) {
  const GpusWithoutBytesOn on;
  EXPECT_TRUE(staged(meta({16384, 4096}), {1}).empty());  // a block for each row
  EXPECT_TRUE(staged(meta({8, 4096}), {0}).empty());
  EXPECT_TRUE(staged(meta({100}), {0}).empty());
  EXPECT_TRUE(staged(meta({0, 5}), {0}).empty());
  EXPECT_TRUE(staged(meta({1, 5}), {0}).empty());  // nothing is added up
  EXPECT_TRUE(staged(meta({}), {}).empty());
}

TEST(ReductionMemory, AVarianceIsFourNumbersForEachThread) {
  const GpusWithoutBytesOn on;
  const auto variance = [](const at::Tensor& self, std::vector<std::int64_t> dims) {
    const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::var", "correction");
    const torch::jit::Stack stack{self, std::move(dims), 1.0, false};
    return staged_by_variance(OperatorArguments(op, stack));
  };
  const PieceSizes sums = staged(meta({16384, 4096}), {0});
  EXPECT_EQ(variance(meta({16384, 4096}), {0}), (PieceSizes{4 * sums[0], sums[1]}));
  EXPECT_EQ(variance(meta({16384, 4096}, at::kDouble), {0})[0], 8 * sums[0]);
  EXPECT_EQ(variance(meta({16384, 4096}, at::kBFloat16), {0})[0], 4 * sums[0]);
  EXPECT_EQ(variance(meta({4096, 4096}), {})[0], 4 * staged(meta({4096, 4096}), {})[0]);
  EXPECT_TRUE(variance(meta({16384, 4096}), {1}).empty());
}

TEST(ReductionMemory, WhatNeeds64BitsIsDoneInHalves) {
  const GpusWithoutBytesOn on;
  const PieceSizes half = staged(meta({131072, 4096}), {0});
  EXPECT_EQ(staged(meta({262144, 4096}), {0}), half);
}

TEST(ReductionMemory, OddColumnsAreNoVectors) {
  const GpusWithoutBytesOn on;
  // Blocks of 32 x 16 threads with a column each: 129 blocks, and five share one.
  const PieceSizes expected{4 * std::int64_t{4097} * 5 * 32, 516};
  EXPECT_EQ(staged(meta({16384, 4097}), {0}), expected);
}

}  // namespace
}  // namespace polyrank
