// A model of the allocator that PyTorch has for CUDA.
#pragma once

#include <polyrank/allocator/allocator_state.h>
#include <polyrank/allocator/options.h>
#include <polyrank/allocator/statistics.h>
#include <polyrank/allocator/stream_order.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace polyrank {

// The device has no room for a request, not even after all that is free was given back to it.
class POLYRANK_API OutOfMemory : public Error {
 public:
  struct Figures {  // units: bytes
    std::int64_t asked_for;
    std::int64_t capacity;
    std::int64_t free;
    std::int64_t allocated;
    std::int64_t reserved;
  };
  // The text is PyTorch's, of that GPU.
  OutOfMemory(int gpu, const Figures& figures);

  const Figures& figures() const noexcept { return figures_; }

 private:
  Figures figures_;
};

struct BlockSnapshot {
  Address address;
  std::int64_t size;
  std::int64_t requested_size;
  bool is_allocated;
  bool is_active;
};

// A segment, or of an expandable one each range that has memory.
struct SegmentSnapshot {
  Address address;
  std::int64_t total_size;
  std::int64_t allocated_size;
  std::int64_t active_size;
  std::int64_t requested_size;
  StreamNumber stream;
  bool is_large;
  bool is_expandable;
  std::vector<BlockSnapshot> blocks;
};

// NOTE [The model of the caching allocator]
// A request is rounded (rounding.h) and given the smallest free block of its stream and pool that
// is large enough; what is left of it becomes a free block if that is worth it. Where none is free
// a segment is asked of the device. If that has no room: what is free and oversize is given back,
// then all that is free, and it is tried again. A freed block merges with its free neighbours.
// Source: c10/cuda/CUDACachingAllocator.cpp of PyTorch 2.13. Private pools (CUDA graphs) are not
// modelled. Where PyTorch's order depends on what CUDA answers (addresses, which of two streams is
// asked first), addresses ascend and streams are asked in the order of their numbers.
//
// Thread rule: the caller's.
class POLYRANK_API CachingAllocator {
 public:
  // Units: bytes. `gpu` is its number, for errors.
  explicit CachingAllocator(std::int64_t capacity, const AllocatorOptions& options = {},
                            int gpu = 0)
      : state_(capacity, options), gpu_(gpu) {}

  // Ensures: (1) no two blocks that are in use overlap; (2) the blocks of a segment tile it;
  //          (3) the block is the smallest of its stream and pool that was free and large enough,
  //              or, of a new segment, its first `rounded_size(bytes)`;
  //          (4) what is allocated, active and reserved is what blocks and segments sum up to.
  // Requires: bytes > 0. Throws: OutOfMemory. Cost: O(log number of free blocks).
  Block* allocate(std::int64_t bytes, StreamNumber stream);

  // Ensures: (5) a block that no other stream used is free at once, merged with free neighbours;
  //          (6) else it is once those streams are done with what they were given before this.
  void free(Block* block);

  // Says that `stream` uses the block, too.
  void record_stream(Block* block, StreamNumber stream);

  // Gives all that is free back to the device, after waiting for all streams.
  void empty_cache();

  // Lets requests fail that would make reserved memory more than that share of the device's.
  void set_memory_fraction(double fraction);

  const AllocatorStatistics& statistics() const noexcept { return state_.statistics; }
  AllocatorStatistics& statistics() noexcept { return state_.statistics; }
  const AllocatorOptions& options() const noexcept { return state_.options; }
  void set_options(const AllocatorOptions& options) { state_.options = options; }
  DeviceMemory& device() noexcept { return state_.device; }
  StreamOrder& streams() noexcept { return streams_; }

  // Segments in the order of addresses.
  std::vector<SegmentSnapshot> snapshot() const;

 private:
  // A block that a stream may still use, up to a position of its.
  struct Deferred {
    std::int64_t position;
    Block* block;
  };

  Block* find_free(BlockPool* pool, StreamNumber stream, std::int64_t size);
  Block* new_segment(BlockPool* pool, StreamNumber stream, std::int64_t size);
  Block* new_segment_after_release(BlockPool* pool, StreamNumber stream, std::int64_t size);
  Block* hand_out(Block* block, std::int64_t size, std::int64_t bytes);
  void defer(Block* block);
  void free_what_is_done();
  void wait_and_free_all_deferred();
  void make_free(Block* block);
  bool may_collect() const noexcept;
  OutOfMemory out_of_memory(std::int64_t size);

  AllocatorState state_;
  StreamOrder streams_;
  std::map<StreamNumber, std::deque<Deferred>> deferred_;
  int gpu_;
};

}  // namespace polyrank
