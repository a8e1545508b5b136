#include <polyrank/allocator/expandable_blocks.h>
#include <polyrank/allocator/rounding.h>

#include <algorithm>

namespace polyrank {

namespace {

bool is_free(const Block* block) { return block != nullptr && !block->is_in_use(); }

// Whether `size` bytes follow from `block` on that nobody uses, with memory or without.
bool has_room(const Block* block, std::int64_t size) {
  std::int64_t bytes = 0;
  while (bytes < size && is_free(block)) {
    bytes += block->size;
    block = block->next;
  }
  return bytes >= size;
}

Block* new_segment(AllocatorState* state, BlockPool* pool, StreamNumber stream) {
  const std::int64_t page_size =
      pool->is_small() ? kSmallSegmentSize : state->options.large_segment_size;
  // An eighth more than the device has, so that pages may move to the end.
  const std::int64_t capacity = state->device.capacity();
  ExpandableSegment& segment =
      state->expandable_segments.emplace_back(page_size, capacity + capacity / 8, &state->device);
  Block* block = state->store.make({.address = segment.range().begin,
                                    .size = segment.range().size,
                                    .stream = stream,
                                    .pool = pool,
                                    .segment = &segment,
                                    .is_mapped = false});
  pool->unmapped().insert(block);
  return block;
}

// The first block of a run without users that has room: unmapped, or free and unmapped.
Block* find_room(AllocatorState* state, BlockPool* pool, StreamNumber stream, std::int64_t size) {
  for (auto at = pool->unmapped().lower_bound(BlockKey{stream, 0, 0});
       at != pool->unmapped().end() && (*at)->stream == stream; ++at) {
    Block* first = is_free((*at)->previous) ? (*at)->previous : *at;
    if (has_room(first, size)) {
      return first;
    }
  }
  return new_segment(state, pool, stream);
}

// Gives memory to the front of an unmapped block, which takes in its free neighbours.
bool map_front(AllocatorState* state, Block* block, std::int64_t size) {
  const AddressRange mapped = block->segment->map({block->address, size});
  if (mapped.size == 0) {
    return false;
  }
  BlockPool& pool = *block->pool;
  pool.unmapped().erase(block);
  if (mapped.size < block->size) {
    Block* rest = state->store.make({.address = block->address + static_cast<Address>(mapped.size),
                                     .size = block->size - mapped.size,
                                     .stream = block->stream,
                                     .pool = &pool,
                                     .previous = block,
                                     .next = block->next,
                                     .segment = block->segment,
                                     .is_mapped = false});
    if (rest->next != nullptr) {
      rest->next->previous = rest;
    }
    block->next = rest;
    block->size = mapped.size;
    pool.unmapped().insert(rest);
  }
  block->is_mapped = true;
  pool.merge(block, block->previous);
  pool.merge(block, block->next);
  pool.add(block);
  state->statistics.reserved_bytes.increase(pool.is_small(), mapped.size);
  ++state->statistics.num_device_alloc;
  return true;
}

// Makes what lies between the block's end and `neighbour`'s a free block of its own.
void split_off(AllocatorState* state, const Block& like, Block* previous, Block* next) {
  Block* part = state->store.make(like);
  part->previous = previous;
  part->next = next;
  if (previous != nullptr) {
    previous->next = part;
  }
  if (next != nullptr) {
    next->previous = part;
  }
  part->pool->add(part);
}

}  // namespace

Block* grow_expandable(AllocatorState* state, BlockPool* pool, StreamNumber stream,
                       std::int64_t size) {
  Block* block = find_room(state, pool, stream, size);
  if (!block->is_mapped && !map_front(state, block, std::min(block->size, size))) {
    return nullptr;
  }
  while (block->size < size) {
    Block* unmapped = block->next;
    if (!map_front(state, unmapped, std::min(size - block->size, unmapped->size))) {
      return nullptr;
    }
    block = unmapped;  // which has taken the free one in
  }
  pool->free().erase(block);
  return block;
}

void shrink_expandable(AllocatorState* state, Block* block) {
  const AddressRange gone = block->segment->unmap({block->address, block->size});
  if (gone.size == 0) {
    return;
  }
  BlockPool& pool = *block->pool;
  pool.free().erase(block);
  const auto before = static_cast<std::int64_t>(gone.begin - block->address);
  const std::int64_t after = block->size - before - gone.size;
  const Block like{.stream = block->stream, .pool = &pool, .segment = block->segment};
  if (before > 0) {
    Block part = like;
    part.address = block->address;
    part.size = before;
    split_off(state, part, block->previous, block);
  }
  if (after > 0) {
    Block part = like;
    part.address = gone.begin + static_cast<Address>(gone.size);
    part.size = after;
    split_off(state, part, block, block->next);
  }
  block->address = gone.begin;
  block->size = gone.size;
  block->is_mapped = false;
  pool.merge(block, block->previous);
  pool.merge(block, block->next);
  pool.unmapped().insert(block);
  state->statistics.reserved_bytes.decrease(pool.is_small(), gone.size);
  ++state->statistics.num_device_free;
  if (!block->is_split()) {
    state->expandable_segments.remove_if(
        [&](const ExpandableSegment& segment) { return &segment == block->segment; });
    pool.unmapped().erase(block);
    state->store.take_back(block);
  }
}

}  // namespace polyrank
