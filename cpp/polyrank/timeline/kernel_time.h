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

// How a kernel of kMemory goes through memory.
enum class MemoryAccess : std::uint8_t {
  kVectorized,     // it loads and stores several elements at a time
  kUnvectorized,   // elementwise, one at a time: casts, broadcasts, strides
  kConcatenation,  // of tensors with strides: one at a time, and where each lies is worked out
};
inline constexpr std::size_t kNumMemoryAccesses = 3;

enum class AttentionKernel : std::uint8_t { kFlash, kCudnn, kEfficient };
inline constexpr std::size_t kNumAttentionKernels = 3;

// What a kernel has to do.
struct KernelWork {
  KernelKind kind = KernelKind::kMemory;
  MathType math = MathType::kHalf;
  double flops = 0;
  double recomputed_flops = 0;                      // of them: what forward had computed, too
  double bytes = 0;                                 // read and written
  bool is_to_host = false;                          // of a copy between host and GPU
  MemoryAccess access = MemoryAccess::kVectorized;  // of kMemory
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
  std::vector<Tile> tiles;     // of the output, that matmuls are cut into
  double tile_overhead_k = 0;  // steps of k that a tile's start and end cost
  double memory_bytes = 0;     // a second, peak
  std::array<double, kNumMemoryAccesses> memory_efficiency{};  // of that
  double host_copy_bytes = 0;                                  // a second
  double kernel_ns = 0;                                        // that any kernel takes at least
  std::array<AttentionSpeeds, kNumAttentionKernels> attention{};
};

// NOTE [The time of a matmul]
// The output is cut into tiles; each multiprocessor makes one at a time, and a wave of them is over
// when the last is. So 133 tiles on 132 multiprocessors take as long as 264. Where there are fewer
// tiles than multiprocessors, k may be cut too (split-k). A library chooses among tiles by a
// heuristic; here the fastest of `tiles` is taken. A matmul is never faster than its bytes.

// A kernel that has the GPU for itself.
struct KernelRun {
  std::int64_t time = 0;  // nanoseconds
  GpuUse use = {};        // in that time
};

// Ensures: (1) never takes less than kernel_ns; (2) nor less than flops at the peak, nor bytes at
//          the peak of memory; (3) of a matmul: never shorter when m, n, k or batch grows by whole
//          tiles; (4) matmuls and attention use all multiprocessors, or all of the memory's
//          bandwidth, but for what any kernel takes at least; all else uses the bandwidth alone.
// Cost: independent of sizes.
POLYRANK_API KernelRun run_of(const KernelWork& work, const GpuSpeeds& gpu);

// What it would take at the peaks of matrix units and memory, whichever is longer. Units:
// nanoseconds.
POLYRANK_API double roofline_time(const KernelWork& work, const GpuSpeeds& gpu);

}  // namespace polyrank
