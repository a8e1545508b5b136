// A piece of a virtual GPU's memory.
#pragma once

#include <c10/core/Device.h>
#include <polyrank/allocator/caching_allocator.h>

#include <cstdint>
#include <memory>
#include <string_view>

namespace polyrank {

class MemoryHistory;
class RankGpus;

// A block of the GPU's allocator, of the stream that was current, for as long as this lives. The
// history of memory that is kept knows it.
class GpuBlock {
 public:
  // Requires: bytes > 0, and `rank` outlives this.
  // Throws: c10::OutOfMemoryError if the GPU has no room.
  GpuBlock(RankGpus* rank, c10::DeviceIndex gpu, std::int64_t bytes);
  ~GpuBlock();
  GpuBlock(const GpuBlock&) = delete;
  GpuBlock& operator=(const GpuBlock&) = delete;

  std::uint64_t address() const noexcept { return block_->address; }

  // Says whose it is, if a history is kept.
  void set_owner(std::string_view owner, std::string_view detail) const;

  void record_stream(StreamNumber stream) const;

 private:
  RankGpus* rank_;
  c10::DeviceIndex gpu_;
  Block* block_;
  std::shared_ptr<MemoryHistory> history_;
  std::int64_t piece_ = -1;  // of history_
};

}  // namespace polyrank
