// What the driver of a GPU gives out: memory, up to a limit, and addresses.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank {

using Address = std::uint64_t;

// Memory is given out in whole pieces and may lie anywhere (a GPU maps pages), so that only the sum
// is limited. Addresses ascend and are never used twice; they are those that no processor can have
// mapped, so that whoever reads one is stopped.
// Units: bytes.
class POLYRANK_API DeviceMemory {
 public:
  explicit DeviceMemory(std::int64_t capacity) : capacity_(capacity) {}

  std::int64_t capacity() const noexcept { return capacity_; }
  std::int64_t taken() const noexcept { return taken_; }
  std::int64_t free() const noexcept { return capacity_ - taken_; }

  // Changes the limit. What is taken stays, also where it is more.
  void set_capacity(std::int64_t bytes) noexcept { capacity_ = bytes; }

  // Takes so much if it is free; whether it was.
  bool take(std::int64_t bytes) noexcept;

  // Gives back what was taken.
  void give_back(std::int64_t bytes) noexcept { taken_ -= bytes; }

  // A range of addresses that no other call was or will be given.
  Address new_addresses(std::int64_t bytes) noexcept;

 private:
  std::int64_t capacity_;
  std::int64_t taken_ = 0;
  Address next_address_ = kFirstAddress;

  // The first address that is not canonical on x86-64 (47 bits belong to programs).
  static constexpr Address kFirstAddress = Address{1} << 47;
};

}  // namespace polyrank
