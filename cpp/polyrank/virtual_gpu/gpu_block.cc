#include <c10/util/Exception.h>
#include <polyrank/virtual_gpu/allocator_settings.h>
#include <polyrank/virtual_gpu/gpu_block.h>
#include <polyrank/virtual_gpu/memory_history.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/streams.h>

#include <utility>

namespace polyrank {

namespace {

Block* allocate(RankGpus* rank, c10::DeviceIndex gpu, std::int64_t bytes) {
  const StreamNumber stream = current_gpu_stream({c10::kCUDA, gpu}).id();
  try {
    return rank->with_allocator(gpu, [&](CachingAllocator& allocator) {
      allocator.set_options(allocator_options());
      return allocator.allocate(bytes, stream);
    });
  } catch (const OutOfMemory& error) {
    TORCH_CHECK_WITH(OutOfMemoryError, false, error.what());
  }
}

// Allocated and reserved bytes.
std::pair<std::int64_t, std::int64_t> totals(RankGpus* rank, c10::DeviceIndex gpu) {
  return rank->with_allocator(gpu, [](const CachingAllocator& allocator) {
    const AllocatorStatistics& statistics = allocator.statistics();
    return std::pair(statistics.allocated_bytes.all.current, statistics.reserved_bytes.all.current);
  });
}

}  // namespace

GpuBlock::GpuBlock(RankGpus* rank, c10::DeviceIndex gpu, std::int64_t bytes)
    : rank_(rank), gpu_(gpu), block_(allocate(rank, gpu, bytes)), history_(memory_history()) {
  if (history_ != nullptr) {
    const auto [allocated, reserved] = totals(rank_, gpu_);
    piece_ =
        history_->made(block_->size, gpu_, block_->address, block_->stream, allocated, reserved);
  }
}

GpuBlock::~GpuBlock() {
  rank_->with_allocator(gpu_, [&](CachingAllocator& allocator) { allocator.free(block_); });
  if (history_ != nullptr) {
    const auto [allocated, reserved] = totals(rank_, gpu_);
    history_->freed(piece_, allocated, reserved);
  }
}

void GpuBlock::set_owner(std::string_view owner, std::string_view detail) const {
  if (history_ != nullptr) {
    history_->set_owner(piece_, owner, detail);
  }
}

void GpuBlock::record_stream(StreamNumber stream) const {
  rank_->with_allocator(
      gpu_, [&](CachingAllocator& allocator) { allocator.record_stream(block_, stream); });
}

}  // namespace polyrank
