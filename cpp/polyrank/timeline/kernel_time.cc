#include <polyrank/core/ceil_div.h>
#include <polyrank/timeline/kernel_time.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace polyrank {

namespace {

constexpr double kNanoseconds = 1e9;
constexpr std::array<std::int64_t, 5> kSplitsOfK{1, 2, 4, 8, 16};
constexpr std::int64_t kLeastSplitK = 256;  // below that a part of k is not worth a tile's start

double memory_seconds(const KernelWork& work, const GpuSpeeds& gpu) {
  return work.bytes /
         (gpu.memory_bytes * gpu.memory_efficiency.at(static_cast<std::size_t>(work.access)));
}

std::int64_t num_tiles(const KernelWork& work, const Tile& tile) {
  return work.batch * ceil_div(work.m, tile.m) * ceil_div(work.n, tile.n);
}

// Seconds of matrix units for a matmul that is cut in that way.
double seconds_of_cut(const KernelWork& work, const GpuSpeeds& gpu, const Tile& tile,
                      std::int64_t split) {
  const std::int64_t waves = ceil_div(num_tiles(work, tile) * split, gpu.multiprocessors);
  const double k = std::ceil(static_cast<double>(work.k) / static_cast<double>(split));
  const double flops_of_tile =
      2.0 * static_cast<double>(tile.m * tile.n) * (k + gpu.tile_overhead_k);
  const auto math = static_cast<std::size_t>(work.math);
  const double flops_of_multiprocessor = gpu.peak_flops.at(math) * gpu.matmul_efficiency.at(math) /
                                         static_cast<double>(gpu.multiprocessors);
  return static_cast<double>(waves) * flops_of_tile / flops_of_multiprocessor;
}

// Of matrix units alone, as the next one.
double matmul_seconds(const KernelWork& work, const GpuSpeeds& gpu) {
  if (work.m * work.n * work.batch == 0) {
    return 0;
  }
  double fastest = std::numeric_limits<double>::max();
  for (const Tile& tile : gpu.tiles) {
    const bool leaves_some_idle = num_tiles(work, tile) < gpu.multiprocessors;
    for (const std::int64_t split : kSplitsOfK) {
      if (split == 1 || (leaves_some_idle && work.k / split >= kLeastSplitK)) {
        fastest = std::min(fastest, seconds_of_cut(work, gpu, tile, split));
      }
    }
  }
  return fastest;
}

const AttentionSpeed& speed_of(const KernelWork& work, const GpuSpeeds& gpu) {
  const AttentionSpeeds& speeds = gpu.attention.at(static_cast<std::size_t>(work.attention));
  if (work.is_backward) {
    return work.is_causal ? speeds.causal_backward : speeds.backward;
  }
  return work.is_causal ? speeds.causal_forward : speeds.forward;
}

double attention_seconds(const KernelWork& work, const GpuSpeeds& gpu) {
  const AttentionSpeed& speed = speed_of(work, gpu);
  // Attention in fp32 is no faster than the peak of that type lets it be.
  const double peak = gpu.peak_flops.at(static_cast<std::size_t>(work.math));
  const auto sequence = static_cast<double>(std::max<std::int64_t>(work.sequence, 1));
  const double reached = std::min(speed.flops, peak) * sequence / (sequence + speed.half_sequence);
  return work.flops / reached;
}

// What it has to do, by what it needs for that. The longest counts.
struct Needs {
  double multiprocessors = 0;
  double memory = 0;
  double host_link = 0;
  double longest() const { return std::max({multiprocessors, memory, host_link}); }
};

Needs needs_of(const KernelWork& work, const GpuSpeeds& gpu) {
  switch (work.kind) {
    case KernelKind::kMemory:
      return {.memory = memory_seconds(work, gpu)};
    case KernelKind::kMatmul: {
      const double math = matmul_seconds(work, gpu);
      return {.multiprocessors = math, .memory = math == 0 ? 0 : memory_seconds(work, gpu)};
    }
    case KernelKind::kAttention:
      return {.multiprocessors = attention_seconds(work, gpu), .memory = memory_seconds(work, gpu)};
    case KernelKind::kHostCopy:
      return {.host_link = work.bytes / gpu.host_copy_bytes};
  }
  return {};
}

}  // namespace

KernelRun run_of(const KernelWork& work, const GpuSpeeds& gpu) {
  const Needs needs = needs_of(work, gpu);
  const double time = gpu.kernel_ns + needs.longest() * kNanoseconds;
  if (time == 0) {
    return {};
  }
  return {.time = std::llround(time),
          .use = {.multiprocessors = needs.multiprocessors * kNanoseconds / time,
                  .memory = needs.memory * kNanoseconds / time}};
}

double roofline_time(const KernelWork& work, const GpuSpeeds& gpu) {
  const double memory =
      work.bytes / (work.kind == KernelKind::kHostCopy ? gpu.host_copy_bytes : gpu.memory_bytes);
  const double math = work.flops / gpu.peak_flops.at(static_cast<std::size_t>(work.math));
  return std::max(memory, math) * kNanoseconds;
}

}  // namespace polyrank
