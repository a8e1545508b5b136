#include <polyrank/allocator/block_pool.h>

namespace polyrank {

Block* BlockStore::make(const Block& like) {
  Block* block = nullptr;
  if (spare_.empty()) {
    block = &blocks_.emplace_back();
  } else {
    block = spare_.back();
    spare_.pop_back();
  }
  *block = like;
  block->is_live = true;
  return block;
}

void BlockStore::take_back(Block* block) {
  block->is_live = false;
  spare_.push_back(block);
}

std::vector<const Block*> BlockStore::live() const {
  std::vector<const Block*> live;
  for (const Block& block : blocks_) {
    if (block.is_live) {
      live.push_back(&block);
    }
  }
  return live;
}

void BlockPool::add(Block* block) {
  block->born_at = num_searches_;
  free_.insert(block);
}

Block* BlockPool::cut_front(Block* block, std::int64_t size) {
  Block* front = store_->make({.address = block->address,
                               .size = size,
                               .stream = block->stream,
                               .pool = this,
                               .previous = block->previous,
                               .next = block,
                               .segment = block->segment});
  if (front->previous != nullptr) {
    front->previous->next = front;
  }
  block->previous = front;
  block->address += static_cast<Address>(size);
  block->size -= size;
  return front;
}

std::int64_t BlockPool::merge(Block* block, Block* neighbour) {
  if (neighbour == nullptr || neighbour->is_in_use() || neighbour->is_mapped != block->is_mapped) {
    return 0;
  }
  if (neighbour->is_mapped) {
    free_.erase(neighbour);
  } else {
    unmapped_.erase(neighbour);
  }
  if (block->previous == neighbour) {
    block->address = neighbour->address;
    block->previous = neighbour->previous;
    if (block->previous != nullptr) {
      block->previous->next = block;
    }
  } else {
    block->next = neighbour->next;
    if (block->next != nullptr) {
      block->next->previous = block;
    }
  }
  const std::int64_t size = neighbour->size;
  block->size += size;
  store_->take_back(neighbour);
  return size;
}

}  // namespace polyrank
