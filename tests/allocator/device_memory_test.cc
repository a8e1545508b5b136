#include <gtest/gtest.h>
#include <polyrank/allocator/device_memory.h>

namespace polyrank {
namespace {

TEST(DeviceMemory, GivesOutUpToItsCapacity) {
  DeviceMemory device(100);
  EXPECT_TRUE(device.take(60));
  EXPECT_FALSE(device.take(41));
  EXPECT_TRUE(device.take(40));
  EXPECT_EQ(device.free(), 0);
  device.give_back(60);
  EXPECT_EQ(device.free(), 60);
  EXPECT_EQ(device.taken(), 40);
}

TEST(DeviceMemory, WhatIsTakenStaysWhenTheCapacityShrinks) {
  DeviceMemory device(100);
  ASSERT_TRUE(device.take(60));
  device.set_capacity(50);
  EXPECT_EQ(device.free(), -10);
  EXPECT_FALSE(device.take(1));
}

TEST(DeviceMemory, AddressesAreNewAndNobodyElses) {
  DeviceMemory device(100);
  const Address first = device.new_addresses(3);
  const Address second = device.new_addresses(5);
  EXPECT_GE(first, Address{1} << 47);  // not canonical: no program can have it mapped
  EXPECT_GE(second, first + 3);
  EXPECT_EQ(second % (std::uint64_t{2} << 20), 0U);
}

}  // namespace
}  // namespace polyrank
