#include <polyrank/virtual_gpu/memory.h>

#include <algorithm>
#include <cstdlib>

namespace polyrank {

namespace {

// Source: CUDACachingAllocator's kMinBlockSize, and kSmallBuffer, the smallest piece that it asks
// the driver for.
constexpr std::int64_t kBlockBytes = 512;
constexpr std::int64_t kSegmentBytes = std::int64_t{2} << 20;

std::int64_t rounded_up(std::int64_t bytes, std::int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

void MemoryFigure::add(std::int64_t amount) noexcept {
  current += amount;
  peak = std::max(peak, current);
  (amount > 0 ? allocated : freed) += std::abs(amount);
}

std::array<MemoryFigure*, 4> GpuMemory::figures() noexcept {
  return {&allocated_bytes, &requested_bytes, &reserved_bytes, &blocks};
}

void GpuMemory::add(std::size_t bytes, std::int64_t sign) noexcept {
  if (bytes == 0) {
    return;  // as CUDA's allocator, which hands out no block for nothing
  }
  const auto requested = static_cast<std::int64_t>(bytes);
  allocated_bytes.add(sign * rounded_up(requested, kBlockBytes));
  requested_bytes.add(sign * requested);
  blocks.add(sign);
}

void GpuMemory::add_block(std::size_t bytes) noexcept {
  add(bytes, 1);
  const std::int64_t needed = rounded_up(allocated_bytes.current, kSegmentBytes);
  if (needed > reserved_bytes.current) {
    reserved_bytes.add(needed - reserved_bytes.current);
  }
}

void GpuMemory::remove_block(std::size_t bytes) noexcept { add(bytes, -1); }

void GpuMemory::reset_peaks() noexcept {
  for (MemoryFigure* figure : figures()) {
    figure->peak = figure->current;
  }
}

void GpuMemory::reset_accumulated() noexcept {
  for (MemoryFigure* figure : figures()) {
    figure->allocated = 0;
    figure->freed = 0;
  }
}

void GpuMemory::release_reserve() noexcept {
  const std::int64_t needed = rounded_up(allocated_bytes.current, kSegmentBytes);
  if (needed < reserved_bytes.current) {
    reserved_bytes.add(needed - reserved_bytes.current);
  }
}

}  // namespace polyrank
