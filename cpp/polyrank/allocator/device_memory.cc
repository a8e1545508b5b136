#include <polyrank/allocator/device_memory.h>
#include <polyrank/allocator/rounding.h>

namespace polyrank {

bool DeviceMemory::take(std::int64_t bytes) noexcept {
  if (bytes > free()) {
    return false;
  }
  taken_ += bytes;
  return true;
}

Address DeviceMemory::new_addresses(std::int64_t bytes) noexcept {
  const Address first = next_address_;
  next_address_ += static_cast<Address>(rounded_up(bytes, kSegmentRounding));
  return first;
}

}  // namespace polyrank
