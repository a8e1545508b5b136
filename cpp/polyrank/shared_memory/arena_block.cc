#include <polyrank/shared_memory/arena_block.h>

#include <algorithm>
#include <new>

namespace polyrank {

namespace {

constexpr std::size_t kAlignment = alignof(std::max_align_t);

}  // namespace

ArenaBlock::Open ArenaBlock::make(Arena* arena) {
  return Open(new (arena->allocate(sizeof(ArenaBlock))) ArenaBlock(arena));
}

void* ArenaBlock::do_allocate(std::size_t num_bytes, std::size_t alignment) {
  num_bytes = std::max<std::size_t>(num_bytes, 1);  // so that it lies before the end
  void* piece = nullptr;
  if (alignment <= kAlignment && num_bytes <= kBytes - next_) {
    piece = bytes_.data() + next_;
    // The whole is a multiple of the alignment, so this does not pass its end.
    next_ += (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  } else {
    piece = arena_->allocate(num_bytes, alignment);
  }
  num_users_.fetch_add(1, std::memory_order_relaxed);
  return piece;
}

void ArenaBlock::do_deallocate(void* pointer, std::size_t num_bytes, std::size_t alignment) {
  if (!holds(pointer)) {
    arena_->deallocate(pointer, num_bytes, alignment);
  }
  release();
}

bool ArenaBlock::holds(const void* pointer) const noexcept {
  const auto* const at = static_cast<const std::byte*>(pointer);
  return at >= bytes_.data() && at < bytes_.data() + kBytes;
}

void ArenaBlock::release() noexcept {
  if (num_users_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    Arena* const arena = arena_;
    this->~ArenaBlock();
    arena->deallocate(this, sizeof(ArenaBlock));
  }
}

}  // namespace polyrank
