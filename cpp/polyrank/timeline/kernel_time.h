// How long a GPU takes for one kernel.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/timeline/shared_gpu.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace polyrank {

// What matrix units are fed with. fp32 that may be rounded is kTf32.
enum class MathType : std::uint8_t { kFp64, kFp32, kTf32, kHalf, kFp8 };
inline constexpr std::size_t kNumMathTypes = 5;

enum class KernelKind : std::uint8_t {
  kMemory,  // bound by the bytes that it moves: elementwise, norms, reductions, optimizers
  kMatmul,
  kAttention,
  kHostCopy,  // between the host and the GPU
};

enum class AttentionKernel : std::uint8_t { kFlash, kCudnn, kEfficient };
inline constexpr std::size_t kNumAttentionKernels = 3;

// What a kernel has to do.
struct KernelWork {
  KernelKind kind = KernelKind::kMemory;
  MathType math = MathType::kHalf;
  double flops = 0;
  double bytes = 0;         // read and written
  bool is_to_host = false;  // of a copy between host and GPU
  // Of kMemory: it loads and stores several elements at a time.
  bool is_vectorized = true;
  // Of a matmul: batch times (m x k) @ (k x n).
  std::int64_t batch = 1;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  // Of attention.
  AttentionKernel attention = AttentionKernel::kFlash;
  std::int64_t sequence = 0;  // of the keys
  bool is_causal = false;
  bool is_backward = false;
};

// Attention gets `flops` a second with long sequences, and half of it with `half_sequence` keys.
struct AttentionSpeed {
  double flops = 0;
  double half_sequence = 0;
};

struct AttentionSpeeds {
  AttentionSpeed forward;
  AttentionSpeed causal_forward;
  AttentionSpeed backward;
  AttentionSpeed causal_backward;
};

struct Tile {
  std::int64_t m;
  std::int64_t n;
};

// What a GPU does in a second at its best, and what of it kernels reach.
struct GpuSpeeds {
  std::int64_t multiprocessors = 0;
  std::array<double, kNumMathTypes> peak_flops{};         // dense
  std::array<double, kNumMathTypes> matmul_efficiency{};  // of the peak, where tiles fill waves
  std::vector<Tile> tiles;             // of the output, that matmuls are cut into
  double tile_overhead_k = 0;          // steps of k that a tile's start and end cost
  double memory_bytes = 0;             // a second, peak
  double memory_efficiency = 0;        // of that
  double unvectorized_efficiency = 0;  // of that, of kernels that are not; 0: as the others
  double host_copy_bytes = 0;          // a second
  double kernel_ns = 0;                // that any kernel takes at least
  std::array<AttentionSpeeds, kNumAttentionKernels> attention{};
};

// NOTE [The time of a matmul]
// The output is cut into tiles; each multiprocessor makes one at a time, and a wave of them is over
// when the last is. So 133 tiles on 132 multiprocessors take as long as 264. Where there are fewer
// tiles than multiprocessors, k may be cut too (split-k). A library chooses among tiles by a
// heuristic; here the fastest of `tiles` is taken. A matmul is never faster than its bytes.

// Units: nanoseconds.
// Ensures: (1) never less than kernel_ns; (2) never less than flops at the peak, nor bytes at the
//          peak of memory; (3) of a matmul: never shorter when m, n, k or batch grows by whole
//          tiles.
// Cost: independent of sizes.
POLYRANK_API std::int64_t kernel_time(const KernelWork& work, const GpuSpeeds& gpu);

// What the kernel uses of the GPU in that time.
// Ensures: (4) matmuls and attention use all multiprocessors, or all of the memory's bandwidth, but
//          for what any kernel takes at least; all else uses the bandwidth alone.
POLYRANK_API GpuUse kernel_use(const KernelWork& work, const GpuSpeeds& gpu);

// What it would take at the peaks of matrix units and memory, whichever is longer. Units:
// nanoseconds.
POLYRANK_API double roofline_time(const KernelWork& work, const GpuSpeeds& gpu);

}  // namespace polyrank
