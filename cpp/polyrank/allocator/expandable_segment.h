// A range of addresses that gets memory page by page.
#pragma once

#include <polyrank/allocator/device_memory.h>
#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank {

// A range of addresses. Units: bytes.
struct AddressRange {
  Address begin;
  std::int64_t size;  // 0: nothing
  bool operator==(const AddressRange&) const = default;
};

// Which pages have memory is known by the blocks that lie on them (Block::is_mapped).
// Source: ExpandableSegment of c10/cuda/CUDACachingAllocator.cpp, PyTorch 2.13.
class POLYRANK_API ExpandableSegment {
 public:
  // Units: bytes; the range is the pages that `address_space` needs.
  ExpandableSegment(std::int64_t page_size, std::int64_t address_space, DeviceMemory* device);

  AddressRange range() const noexcept { return {first_, size_}; }

  // Gives memory to the pages that `range` touches; it begins with a page, and none has memory.
  // Returns: the pages; nothing if the device has not enough for all of them.
  AddressRange map(AddressRange range);

  // Takes the memory of the pages that lie in `range` as a whole.
  // Returns: the pages; nothing if there are none.
  AddressRange unmap(AddressRange range);

 private:
  std::int64_t bytes_before(Address address) const noexcept {
    return static_cast<std::int64_t>(address - first_);
  }

  std::int64_t page_size_;
  std::int64_t size_;
  DeviceMemory* device_;
  Address first_;
};

}  // namespace polyrank
