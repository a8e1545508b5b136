#include <gtest/gtest.h>
#include <polyrank/allocator/expandable_segment.h>
#include <polyrank/allocator/options.h>

namespace polyrank {
namespace {

TEST(ExpandableSegment, MapsWholePages) {
  DeviceMemory device(100 * kMiB);
  ExpandableSegment segment(20 * kMiB, 112 * kMiB, &device);
  const auto [begin, size] = segment.range();
  EXPECT_EQ(size, 120 * kMiB);
  EXPECT_EQ(segment.map({begin, kMiB}), (AddressRange{begin, 20 * kMiB}));
  const Address second = begin + static_cast<Address>(20 * kMiB);
  EXPECT_EQ(segment.map({second, 21 * kMiB}), (AddressRange{second, 40 * kMiB}));
  EXPECT_EQ(device.taken(), 60 * kMiB);
}

TEST(ExpandableSegment, TakesNothingWhereNotAllIsThere) {
  DeviceMemory device(50 * kMiB);
  ExpandableSegment segment(20 * kMiB, 100 * kMiB, &device);
  EXPECT_EQ(segment.map({segment.range().begin, 41 * kMiB}).size, 0);
  EXPECT_EQ(device.taken(), 0);
}

TEST(ExpandableSegment, UnmapsThePagesThatLieWithin) {
  DeviceMemory device(100 * kMiB);
  ExpandableSegment segment(20 * kMiB, 100 * kMiB, &device);
  const Address begin = segment.range().begin;
  ASSERT_EQ(segment.map({begin, 80 * kMiB}).size, 80 * kMiB);
  const auto at = [&](std::int64_t bytes) { return begin + static_cast<Address>(bytes); };
  EXPECT_EQ(segment.unmap({at(kMiB), 38 * kMiB}).size, 0);
  EXPECT_EQ(segment.unmap({at(kMiB), 60 * kMiB}), (AddressRange{at(20 * kMiB), 40 * kMiB}));
  EXPECT_EQ(device.taken(), 40 * kMiB);
}

}  // namespace
}  // namespace polyrank
