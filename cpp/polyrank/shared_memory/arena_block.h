// A block of an arena that is given out piece by piece.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/shared_memory/arena.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>

namespace polyrank {

// For what is made of many small pieces and goes at about one time: it takes the arena's lock twice
// instead of twice for each piece, and its pieces lie side by side. What does not fit comes from
// the arena.
//
// Thread rule: one thread asks for pieces; any thread of any process may give them back.
// Ensures: (1) pieces that are out do not overlap; (2) a piece is aligned as operator new aligns;
//          (3) the block goes back to the arena when it is sealed and its last piece is back.
class POLYRANK_API ArenaBlock final : public std::pmr::memory_resource {
 public:
  static constexpr std::size_t kBytes = 1792;  // of pieces

  struct Seal {
    void operator()(ArenaBlock* block) const noexcept { block->release(); }
  };
  // Whoever has it asks for pieces; it is sealed when this goes.
  using Open = std::unique_ptr<ArenaBlock, Seal>;

  // Throws: what Arena throws. Requires: the arena outlives the last piece.
  static Open make(Arena* arena);

  ~ArenaBlock() override = default;
  ArenaBlock(const ArenaBlock&) = delete;
  ArenaBlock& operator=(const ArenaBlock&) = delete;

 private:
  // NOLINTNEXTLINE(*-member-init): bytes are written by who gets them
  explicit ArenaBlock(Arena* arena) noexcept : arena_(arena) {}

  void* do_allocate(std::size_t num_bytes, std::size_t alignment) override;
  void do_deallocate(void* pointer, std::size_t num_bytes, std::size_t alignment) override;
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  bool holds(const void* pointer) const noexcept;
  void release() noexcept;

  Arena* arena_;
  std::atomic<std::uint32_t> num_users_ = 1;  // pieces that are out, and who asks for more
  std::size_t next_ = 0;
  alignas(std::max_align_t) std::array<std::byte, kBytes> bytes_;
};

}  // namespace polyrank
