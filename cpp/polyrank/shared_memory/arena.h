// Memory that forked processes share, at one address in all of them.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/shared_memory/robust_mutex.h>

#include <cstddef>
#include <cstdint>
#include <memory_resource>

namespace polyrank {

// NOTE [Shared arena]
// The arena is a range of addresses that is mapped before the processes fork, so that it lies at
// the same place in each: a pointer into it means the same to all of them, and so does one to code
// or constants, which a fork does not move. Objects with pointers, containers and virtual functions
// can therefore live in it as they are. What can't: whatever points to memory that a process got
// after the fork. The range is large and costs nothing: the kernel gives a page when it is first
// written, and takes the whole back when the last process that has it ends, however it ends. It has
// no name anywhere.
//
// A block has a size class, four to a doubling, and a header of 64 bytes; a freed block waits for
// the next request of its class. Of large ones, up to kMaxKeptBytes together keep their pages,
// which saves zeroing them; the pages of others go back to the kernel.
//
// Thread rule: any thread of any process that was forked while it existed.
// Invariants: (1) blocks that are out do not overlap; (2) a block is aligned to kAlignment.
class POLYRANK_API Arena final : public std::pmr::memory_resource {
 public:
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t kLargeBytes = std::size_t{1} << 18;
  static constexpr std::size_t kMaxKeptBytes = std::size_t{1} << 30;

  // Reserves `max_bytes` of addresses, or as much as the system lets it.
  // Throws: Error if the system gives none.
  explicit Arena(std::size_t max_bytes = std::size_t{1} << 40);
  ~Arena() override;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  bool contains(const void* pointer) const noexcept;

  // Bytes of the blocks that are out, rounded up to their classes.
  std::size_t used_bytes() const noexcept;
  // Bytes of freed large blocks that still have their pages.
  std::size_t kept_bytes() const noexcept;

 private:
  struct Header;
  struct Block;

  // Throws: Error if the arena is full, or if a process died while it changed the lists.
  void* do_allocate(std::size_t num_bytes, std::size_t alignment) override;
  void do_deallocate(void* pointer, std::size_t num_bytes, std::size_t alignment) override;
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  static void give_pages_back(Block* block) noexcept;

  Header* header_ = nullptr;  // at the start of the range
};

}  // namespace polyrank
