#include <polyrank/matching/board_memory.h>

namespace polyrank {

namespace {

// Stands before each piece.
struct alignas(std::max_align_t) Origin {
  std::pmr::memory_resource* memory;
  std::size_t num_bytes;
};

thread_local std::pmr::memory_resource* current_memory = nullptr;  // null: the heap

}  // namespace

BoardMemoryScope::BoardMemoryScope(std::pmr::memory_resource* memory) noexcept
    : before_(std::exchange(current_memory, memory)) {}

BoardMemoryScope::~BoardMemoryScope() { current_memory = before_; }

void* allocate_board_memory(std::size_t num_bytes) {
  std::pmr::memory_resource* const memory =
      current_memory != nullptr ? current_memory : std::pmr::new_delete_resource();
  const std::size_t all_bytes = num_bytes + sizeof(Origin);
  auto* const origin = static_cast<Origin*>(memory->allocate(all_bytes));
  *origin = {.memory = memory, .num_bytes = all_bytes};
  return origin + 1;
}

void free_board_memory(void* pointer) noexcept {
  Origin* const origin = static_cast<Origin*>(pointer) - 1;
  origin->memory->deallocate(origin, origin->num_bytes);
}

}  // namespace polyrank
