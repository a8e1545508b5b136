#include <gtest/gtest.h>
#include <polyrank/timeline/kernel_time.h>

#include <algorithm>
#include <random>

namespace polyrank {
namespace {

// Round figures, so that results can be worked out by hand.
GpuSpeeds round_gpu() {
  GpuSpeeds gpu;
  gpu.multiprocessors = 100;
  gpu.peak_flops = {1e12, 2e12, 4e12, 10e12, 20e12};
  gpu.matmul_efficiency = {1, 1, 1, 0.5, 0.5};
  gpu.tiles = {{100, 100}};
  gpu.memory_bytes = 1e12;
  gpu.memory_efficiency = {0.8, 0.8, 0.8};
  gpu.host_copy_bytes = 1e10;
  gpu.kernel_ns = 1000;
  for (AttentionSpeeds& speeds : gpu.attention) {
    speeds = {{4e12, 0}, {4e12, 1000}, {2e12, 0}, {2e12, 1000}};
  }
  return gpu;
}

KernelWork matmul(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
                  MathType math = MathType::kHalf) {
  return {.kind = KernelKind::kMatmul,
          .math = math,
          .flops = 2.0 * static_cast<double>(batch * m * n * k),
          .bytes = 2.0 * static_cast<double>(batch * (m * k + k * n + m * n)),
          .batch = batch,
          .m = m,
          .n = n,
          .k = k};
}

std::int64_t time_of(const KernelWork& work, const GpuSpeeds& gpu) {
  return run_of(work, gpu).time;
}

GpuUse use_of(const KernelWork& work, const GpuSpeeds& gpu) { return run_of(work, gpu).use; }

TEST(KernelTime, BytesAtTheSpeedOfMemory) {
  EXPECT_EQ(time_of({.bytes = 8e8}, round_gpu()), 1000 + 1'000'000);
  EXPECT_EQ(time_of({.kind = KernelKind::kHostCopy, .bytes = 1e7}, round_gpu()), 1000 + 1'000'000);
  EXPECT_EQ(time_of({}, round_gpu()), 1000);  // (1)
}

TEST(KernelTime, ElementByElementHasAnEfficiencyOfItsOwn) {
  GpuSpeeds gpu = round_gpu();
  gpu.memory_efficiency = {0.8, 0.4, 0.2};
  EXPECT_EQ(time_of({.bytes = 8e8, .access = MemoryAccess::kUnvectorized}, gpu), 1000 + 2'000'000);
  EXPECT_EQ(time_of({.bytes = 8e8, .access = MemoryAccess::kConcatenation}, gpu), 1000 + 4'000'000);
  EXPECT_EQ(time_of({.bytes = 8e8}, gpu), 1000 + 1'000'000);
}

TEST(KernelUse, IsOfWhatTheKernelIsBoundBy) {  // (4)
  GpuSpeeds gpu = round_gpu();
  gpu.kernel_ns = 0;
  const GpuUse copy = use_of({.bytes = 8e8}, gpu);
  EXPECT_EQ(copy.multiprocessors, 0);
  EXPECT_EQ(copy.memory, 1);
  const GpuUse large = use_of(matmul(1, 1000, 1000, 1 << 14), gpu);
  EXPECT_EQ(large.multiprocessors, 1);
  EXPECT_GT(large.memory, 0);
  EXPECT_LT(large.memory, 0.5);
  const GpuUse flat = use_of(matmul(1, 1000, 1000, 1), gpu);
  EXPECT_EQ(flat.memory, 1);
  gpu.kernel_ns = 1e6;  // half of the copy's time
  EXPECT_DOUBLE_EQ(use_of({.bytes = 8e8}, gpu).memory, 0.5);
  const GpuUse host = use_of({.kind = KernelKind::kHostCopy, .bytes = 1e7}, gpu);
  EXPECT_EQ(host.multiprocessors + host.memory, 0);
}

TEST(KernelTime, OneTileMoreThanAWaveTakesAWaveMore) {
  const std::int64_t one = time_of(matmul(1, 1000, 1000, 1 << 14), round_gpu());
  const std::int64_t two = time_of(matmul(1, 1000, 1001, 1 << 14), round_gpu());
  // 100 tiles: all multiprocessors, at half of the peak.
  EXPECT_NEAR(static_cast<double>(one - 1000), 2e6 * (1 << 14) / 5e12 * 1e9, 2);
  EXPECT_GT(two, one * 3 / 2);
}

TEST(KernelTime, KIsSplitWhereTilesAreFew) {
  const double alone = 2.0 * 1e4 * (1 << 14) / (5e12 / 100) * 1e9;
  const auto split = static_cast<double>(time_of(matmul(1, 100, 100, 1 << 14), round_gpu()));
  EXPECT_NEAR(split, alone / 16 + 1000, 2);
}

TEST(KernelTime, ATilesStartCostsStepsOfK) {
  GpuSpeeds gpu = round_gpu();
  gpu.tile_overhead_k = 100;
  const auto with = static_cast<double>(time_of(matmul(100, 100, 100, 100), gpu) - 1000);
  const auto without = static_cast<double>(time_of(matmul(100, 100, 100, 100), round_gpu()) - 1000);
  EXPECT_NEAR(with / without, 2, 1e-3);
}

TEST(KernelTime, AttentionIsSlowerWithShortSequences) {
  KernelWork attention{.kind = KernelKind::kAttention, .flops = 4e9, .sequence = 1000};
  EXPECT_EQ(time_of(attention, round_gpu()), 1000 + 1'000'000);
  attention.is_causal = true;
  EXPECT_EQ(time_of(attention, round_gpu()), 1000 + 2'000'000);
  attention.is_backward = true;
  EXPECT_EQ(time_of(attention, round_gpu()), 1000 + 4'000'000);
  attention.math = MathType::kFp64;  // whose peak is less
  EXPECT_EQ(time_of(attention, round_gpu()), 1000 + 8'000'000);
}

TEST(KernelTime, NothingIsFasterThanThePeaks) {  // (1), (2), (3)
  std::mt19937 random(1);
  GpuSpeeds gpu = round_gpu();
  gpu.tiles = {{128, 256}, {256, 128}, {128, 128}, {64, 64}};
  gpu.tile_overhead_k = 64;
  const auto draw = [&](unsigned most) { return static_cast<std::int64_t>(1 + random() % most); };
  for (int run = 0; run < 3000; ++run) {
    const std::int64_t batch = draw(8);
    const std::int64_t m = draw(3000);
    const std::int64_t n = draw(3000);
    const std::int64_t k = draw(5000);
    const KernelWork work = matmul(batch, m, n, k);
    const std::int64_t time = time_of(work, gpu);
    ASSERT_GE(time, 1000);
    const double roofline = roofline_time(work, gpu);
    ASSERT_DOUBLE_EQ(roofline, std::max(work.flops / 10e12, work.bytes / 1e12) * 1e9);
    ASSERT_GE(static_cast<double>(time) + 1, roofline);
    ASSERT_LE(time, time_of(matmul(batch + 1, m, n, k), gpu));
    ASSERT_LE(time, time_of(matmul(batch, m + 256, n, k), gpu));
    ASSERT_LE(time, time_of(matmul(batch, m, n + 256, k), gpu));
  }
}

}  // namespace
}  // namespace polyrank
