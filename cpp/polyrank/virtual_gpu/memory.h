// How much memory the tensors on a virtual GPU take.
#pragma once

#include <c10/core/Device.h>
#include <polyrank/core/export.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace polyrank {

constexpr c10::DeviceIndex kMaxGpus = 120;  // as C10_COMPILE_TIME_MAX_GPUS

// One figure over time, as `torch.cuda.memory_stats` gives it.
struct MemoryFigure {
  std::int64_t current = 0;
  std::int64_t peak = 0;
  std::int64_t allocated = 0;  // all that was ever added
  std::int64_t freed = 0;

  void add(std::int64_t amount) noexcept;
};

// The statistics of one GPU. What CUDA's caching allocator would hold in reserve is not modelled:
// `reserved_bytes` follow what is allocated up, and go down with release_reserve().
// Units: bytes; blocks are counted.
struct POLYRANK_API GpuMemory {
  MemoryFigure allocated_bytes;  // each block rounded up to 512 bytes, as CUDA's allocator does
  MemoryFigure requested_bytes;
  MemoryFigure reserved_bytes;
  MemoryFigure blocks;

  // A storage of `bytes` came to be, or is gone.
  void add_block(std::size_t bytes) noexcept;
  void remove_block(std::size_t bytes) noexcept;

  void reset_peaks() noexcept;
  void reset_accumulated() noexcept;
  void release_reserve() noexcept;

 private:
  std::array<MemoryFigure*, 4> figures() noexcept;
  void add(std::size_t bytes, std::int64_t sign) noexcept;
};

}  // namespace polyrank
