#include <polyrank/allocator/caching_allocator.h>
#include <polyrank/allocator/expandable_blocks.h>
#include <polyrank/allocator/rounding.h>
#include <polyrank/allocator/segment_release.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <utility>

namespace polyrank {

namespace {

// As c10::CachingDeviceAllocator's format_size(): two digits after the point, "bytes" without.
std::string with_unit(std::int64_t bytes) {
  if (bytes <= kKiB) {
    return str_cat(bytes, " bytes");
  }
  struct Unit {
    std::int64_t size;
    const char* name;
  };
  constexpr std::array<Unit, 3> units{{{kKiB * kMiB, "GiB"}, {kMiB, "MiB"}, {kKiB, "KiB"}}};
  const auto* const unit = std::find_if(units.begin(), std::prev(units.end()),
                                        [&](const Unit& one) { return bytes > one.size; });
  std::array<char, 32> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%.2f %s",
                                  static_cast<double>(bytes) / static_cast<double>(unit->size),
                                  unit->name));
  return text.data();
}

std::string text_of(int gpu, const OutOfMemory::Figures& figures) {
  return str_cat(
      "CUDA out of memory. Tried to allocate ", with_unit(figures.asked_for), ". GPU ", gpu,
      " has a total capacity of ", with_unit(figures.capacity), " of which ",
      with_unit(figures.free), " is free. Including non-PyTorch memory, this process has ",
      with_unit(figures.capacity - figures.free), " memory in use. Of the allocated memory ",
      with_unit(figures.allocated), " is allocated by PyTorch, and ",
      with_unit(figures.reserved - figures.allocated),
      " is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try "
      "setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See "
      "documentation for Memory Management  "
      "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)");
}

SegmentSnapshot snapshot_from(const Block* block) {
  SegmentSnapshot segment{.address = block->address,
                          .total_size = 0,
                          .allocated_size = 0,
                          .active_size = 0,
                          .requested_size = 0,
                          .stream = block->stream,
                          .is_large = !block->pool->is_small(),
                          .is_expandable = block->segment != nullptr,
                          .blocks = {}};
  for (; block != nullptr && block->is_mapped; block = block->next) {
    segment.total_size += block->size;
    segment.allocated_size += block->is_allocated ? block->size : 0;
    segment.active_size += block->is_in_use() ? block->size : 0;
    segment.requested_size += block->is_in_use() ? block->requested_size : 0;
    segment.blocks.push_back({.address = block->address,
                              .size = block->size,
                              .requested_size = block->requested_size,
                              .is_allocated = block->is_allocated,
                              .is_active = block->is_in_use()});
  }
  return segment;
}

}  // namespace

OutOfMemory::OutOfMemory(int gpu, const Figures& figures)
    : Error(text_of(gpu, figures)), figures_(figures) {}

Block* CachingAllocator::allocate(std::int64_t bytes, StreamNumber stream) {
  free_what_is_done();
  const std::int64_t size = rounded_size(bytes, state_.options);
  BlockPool* pool = is_small(size) ? &state_.small_pool : &state_.large_pool;
  Block* block = find_free(pool, stream, size);
  if (block == nullptr) {
    if (may_collect()) {
      release_old(&state_);
    }
    block = new_segment(pool, stream, size);
  }
  if (block == nullptr) {
    block = new_segment_after_release(pool, stream, size);
  }
  if (block == nullptr) {
    throw out_of_memory(size);
  }
  return hand_out(block, size, bytes);
}

Block* CachingAllocator::find_free(BlockPool* pool, StreamNumber stream, std::int64_t size) {
  if (may_collect()) {
    pool->count_search();
  }
  BlockPool::Free& free = pool->free();
  auto at = pool->best_fit(stream, size);
  const auto is_of_stream = [&](auto position) {
    return position != free.end() && (*position)->stream == stream;
  };
  if (!is_of_stream(at)) {
    return nullptr;
  }
  if ((*at)->segment != nullptr && state_.options.expandable_segments) {
    // What counts is the size that a block can grow to, for which smaller ones are passed over.
    const auto size_grown = [](const Block* block) {
      const Block* next = block->next;
      return block->size + (next != nullptr && !next->is_mapped ? next->size : 0);
    };
    for (auto next = std::next(at);
         (*at)->segment != nullptr && is_of_stream(next) && size_grown(*next) < size_grown(*at);
         ++next) {
      at = next;
    }
  } else if ((*at)->segment != nullptr) {
    // Expandable segments were switched off meanwhile.
    do {
      ++at;
    } while (is_of_stream(at) && (*at)->segment != nullptr);
    if (!is_of_stream(at)) {
      return nullptr;
    }
  }
  const AllocatorOptions& options = state_.options;
  const bool is_oversize = (*at)->size >= options.max_split_size;
  if (size < options.max_split_size ? is_oversize
                                    : (*at)->size >= size + options.max_non_split_rounding) {
    return nullptr;
  }
  Block* block = *at;
  free.erase(at);
  return block;
}

Block* CachingAllocator::new_segment(BlockPool* pool, StreamNumber stream, std::int64_t size) {
  const std::int64_t bytes = segment_size(size, state_.options);
  if (state_.allowed_bytes && state_.reserved() + bytes > *state_.allowed_bytes) {
    return nullptr;
  }
  if (state_.options.expandable_segments) {
    return grow_expandable(&state_, pool, stream, size);
  }
  if (!state_.device.take(bytes)) {
    return nullptr;
  }
  AllocatorStatistics& statistics = state_.statistics;
  statistics.segment.increase(pool->is_small(), 1);
  statistics.reserved_bytes.increase(pool->is_small(), bytes);
  if (bytes >= state_.options.max_split_size) {
    statistics.oversize_segments.increase(1);
  }
  ++statistics.num_device_alloc;
  return state_.store.make({.address = state_.device.new_addresses(bytes),
                            .size = bytes,
                            .stream = stream,
                            .pool = pool});
}

Block* CachingAllocator::new_segment_after_release(BlockPool* pool, StreamNumber stream,
                                                   std::int64_t size) {
  if (release_oversize(&state_, pool, stream, size)) {
    if (Block* block = new_segment(pool, stream, size)) {
      return block;
    }
  }
  empty_cache();
  ++state_.statistics.num_alloc_retries;
  return new_segment(pool, stream, size);
}

Block* CachingAllocator::hand_out(Block* block, std::int64_t size, std::int64_t bytes) {
  AllocatorStatistics& statistics = state_.statistics;
  const bool is_small = block->pool->is_small();
  const bool counts_splits = block->segment == nullptr;
  const bool was_split = block->is_split();
  const std::int64_t rest = block->size - size;
  const bool is_worth_it = is_small || state_.options.expandable_segments
                               ? rest >= kMinBlockSize
                               : size < state_.options.max_split_size && rest > kLargestSmallSize;
  if (is_worth_it) {
    Block* front = block->pool->cut_front(block, size);
    block->pool->add(block);
    if (counts_splits && was_split) {
      statistics.inactive_split_bytes.decrease(is_small, size);
    } else if (counts_splits) {
      statistics.inactive_split_bytes.increase(is_small, rest);
      statistics.inactive_split.increase(is_small, 1);
    }
    block = front;
  } else if (was_split && counts_splits) {
    statistics.inactive_split_bytes.decrease(is_small, block->size);
    statistics.inactive_split.decrease(is_small, 1);
  }
  block->is_allocated = true;
  block->requested_size = bytes;
  statistics.allocation.increase(is_small, 1);
  statistics.allocated_bytes.increase(is_small, block->size);
  statistics.active.increase(is_small, 1);
  statistics.active_bytes.increase(is_small, block->size);
  statistics.requested_bytes.increase(is_small, bytes);
  if (block->size >= state_.options.max_split_size) {
    statistics.oversize_allocations.increase(1);
  }
  return block;
}

void CachingAllocator::free(Block* block) {
  AllocatorStatistics& statistics = state_.statistics;
  const bool is_small = block->pool->is_small();
  block->is_allocated = false;
  statistics.allocation.decrease(is_small, 1);
  statistics.allocated_bytes.decrease(is_small, block->size);
  if (block->size >= state_.options.max_split_size) {
    statistics.oversize_allocations.decrease(1);
  }
  if (block->used_by.empty()) {
    make_free(block);
  } else {
    defer(block);
  }
}

void CachingAllocator::defer(Block* block) {
  for (const StreamNumber stream : std::exchange(block->used_by, {})) {
    ++block->pending;
    deferred_[stream].push_back({.position = streams_.record(stream).at(stream), .block = block});
  }
}

void CachingAllocator::free_what_is_done() {
  for (auto at = deferred_.begin(); at != deferred_.end();) {
    auto& [stream, waiting] = *at;
    while (!waiting.empty() && streams_.is_done(stream, waiting.front().position)) {
      Block* block = waiting.front().block;
      waiting.pop_front();
      if (--block->pending == 0) {
        make_free(block);
      }
    }
    at = waiting.empty() ? deferred_.erase(at) : std::next(at);
  }
}

void CachingAllocator::wait_and_free_all_deferred() {
  ++state_.statistics.num_sync_all_streams;
  for (const auto& [stream, waiting] : deferred_) {
    streams_.host_wait({{stream, waiting.back().position}});
  }
  free_what_is_done();
}

void CachingAllocator::make_free(Block* block) {
  AllocatorStatistics& statistics = state_.statistics;
  BlockPool& pool = *block->pool;
  const bool is_small = pool.is_small();
  statistics.active.decrease(is_small, 1);
  statistics.active_bytes.decrease(is_small, block->size);
  statistics.requested_bytes.decrease(is_small, block->requested_size);
  std::int64_t splits = 0;
  std::int64_t split_bytes = 0;
  for (Block* neighbour : {block->previous, block->next}) {
    if (const std::int64_t merged = pool.merge(block, neighbour); merged > 0) {
      --splits;
      split_bytes -= merged;
    }
  }
  pool.add(block);
  if (block->segment != nullptr) {
    return;  // pages can always be given back
  }
  if (block->is_split()) {
    ++splits;
    split_bytes += block->size;
  }
  const auto change = [&](PoolFigure& figure, std::int64_t by) {
    by > 0 ? figure.increase(is_small, by) : figure.decrease(is_small, -by);
  };
  change(statistics.inactive_split, splits);
  change(statistics.inactive_split_bytes, split_bytes);
}

void CachingAllocator::record_stream(Block* block, StreamNumber stream) {
  std::vector<StreamNumber>& used_by = block->used_by;
  if (stream != block->stream &&
      std::find(used_by.begin(), used_by.end(), stream) == used_by.end()) {
    used_by.push_back(stream);
  }
}

void CachingAllocator::empty_cache() {
  wait_and_free_all_deferred();
  release_unused(&state_, &state_.large_pool);
  release_unused(&state_, &state_.small_pool);
}

void CachingAllocator::set_memory_fraction(double fraction) {
  state_.allowed_bytes =
      static_cast<std::int64_t>(fraction * static_cast<double>(state_.device.capacity()));
}

bool CachingAllocator::may_collect() const noexcept {
  return state_.allowed_bytes.has_value() && state_.options.garbage_collection_threshold > 0;
}

OutOfMemory CachingAllocator::out_of_memory(std::int64_t size) {
  ++state_.statistics.num_ooms;
  return {gpu_,
          {.asked_for = segment_size(size, state_.options),
           .capacity = state_.device.capacity(),
           .free = std::max<std::int64_t>(state_.device.free(), 0),
           .allocated = state_.statistics.allocated_bytes.all.current,
           .reserved = state_.reserved()}};
}

std::vector<SegmentSnapshot> CachingAllocator::snapshot() const {
  std::vector<SegmentSnapshot> segments;
  for (const Block* block : state_.store.live()) {
    const bool is_first = block->previous == nullptr || !block->previous->is_mapped;
    if (block->is_mapped && is_first) {
      segments.push_back(snapshot_from(block));
    }
  }
  std::sort(segments.begin(), segments.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
  return segments;
}

}  // namespace polyrank
