#include <polyrank/allocator/expandable_blocks.h>
#include <polyrank/allocator/segment_release.h>

#include <algorithm>
#include <iterator>
#include <vector>

namespace polyrank {

namespace {

// Requires: `block` is a whole segment that is not expandable
void release(AllocatorState* state, Block* block) {
  BlockPool& pool = *block->pool;
  AllocatorStatistics& statistics = state->statistics;
  state->device.give_back(block->size);
  ++statistics.num_device_free;
  statistics.segment.decrease(pool.is_small(), 1);
  statistics.reserved_bytes.decrease(pool.is_small(), block->size);
  if (block->size >= state->options.max_split_size) {
    statistics.oversize_segments.decrease(1);
  }
  pool.free().erase(block);
  state->store.take_back(block);
}

std::int64_t age(const Block& block) { return block.pool->num_searches() - block.born_at; }

std::vector<Block*> whole_segments(const BlockPool& pool) {
  std::vector<Block*> whole;
  std::copy_if(pool.free().begin(), pool.free().end(), std::back_inserter(whole),
               [](const Block* block) { return !block->is_split(); });
  return whole;
}

}  // namespace

void release_unused(AllocatorState* state, BlockPool* pool) {
  const std::vector<Block*> free(pool->free().begin(), pool->free().end());
  for (Block* block : free) {
    if (block->segment == nullptr && !block->is_split()) {
      release(state, block);
    }
  }
  for (Block* block : free) {
    if (block->is_live && block->segment != nullptr) {
      shrink_expandable(state, block);
    }
  }
}

bool release_oversize(AllocatorState* state, BlockPool* pool, StreamNumber stream,
                      std::int64_t size) {
  const std::int64_t oversize = state->options.max_split_size;
  if (oversize == kUnlimited) {
    return false;
  }
  const std::int64_t needed = std::max(size, oversize);
  auto at = pool->best_fit(stream, needed);
  if (at != pool->free().end() && (*at)->stream == stream) {
    if ((*at)->segment != nullptr) {
      return false;
    }
    release(state, *at);
    return true;
  }
  std::int64_t released = 0;
  while (released < needed && at != pool->free().begin()) {
    Block* largest = *std::prev(at);
    if (largest->stream != stream || largest->size < oversize || largest->segment != nullptr) {
      break;
    }
    released += largest->size;
    release(state, largest);
  }
  return released >= needed;
}

void release_old(AllocatorState* state) {
  const auto threshold =
      static_cast<std::int64_t>(state->options.garbage_collection_threshold *
                                static_cast<double>(state->allowed_bytes.value_or(kUnlimited)));
  std::int64_t excess = state->reserved() - threshold;
  std::vector<Block*> segments = whole_segments(state->large_pool);
  bool has_released = true;
  while (excess > 0 && has_released && !segments.empty()) {
    std::int64_t ages = 0;
    for (const Block* block : segments) {
      ages += age(*block);
    }
    const double mean = static_cast<double>(ages) / static_cast<double>(segments.size());
    const auto is_older = [&](const Block* block) {
      return static_cast<double>(age(*block)) >= mean;
    };
    const auto older = std::stable_partition(segments.begin(), segments.end(),
                                             [&](const Block* block) { return !is_older(block); });
    has_released = older != segments.end();
    for (auto at = older; at != segments.end(); ++at) {
      excess -= (*at)->size;
      release(state, *at);
    }
    segments.erase(older, segments.end());
  }
}

}  // namespace polyrank
