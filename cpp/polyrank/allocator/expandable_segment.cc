#include <polyrank/allocator/expandable_segment.h>
#include <polyrank/allocator/rounding.h>

namespace polyrank {

ExpandableSegment::ExpandableSegment(std::int64_t page_size, std::int64_t address_space,
                                     DeviceMemory* device)
    : page_size_(page_size),
      size_(rounded_up(address_space, page_size)),
      device_(device),
      first_(device->new_addresses(size_)) {}

AddressRange ExpandableSegment::map(AddressRange range) {
  const std::int64_t begin = bytes_before(range.begin);
  const std::int64_t size = rounded_up(begin + range.size, page_size_) - begin;
  return {range.begin, device_->take(size) ? size : 0};
}

AddressRange ExpandableSegment::unmap(AddressRange range) {
  const std::int64_t begin = rounded_up(bytes_before(range.begin), page_size_);
  const std::int64_t end = (bytes_before(range.begin) + range.size) / page_size_ * page_size_;
  if (begin >= end) {
    return {range.begin, 0};
  }
  device_->give_back(end - begin);
  return {first_ + static_cast<Address>(begin), end - begin};
}

}  // namespace polyrank
