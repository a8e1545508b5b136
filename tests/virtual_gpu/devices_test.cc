#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/devices.h>

#include <thread>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(Devices, AreThoseThatWereSwitchedOn) {
  EXPECT_FALSE(virtual_gpus_are_on());
  EXPECT_EQ(virtual_gpus().count, 0);
  const VirtualGpusOn on(3);
  EXPECT_TRUE(virtual_gpus_are_on());
  EXPECT_EQ(virtual_gpus().count, 3);
}

TEST(Devices, AnOrdinalThatIsNotThereIsCudasError) {
  const VirtualGpusOn on(2);
  check_gpu(1);
  EXPECT_THAT([] { check_gpu(2); },
              ThrowsMessage<c10::Error>(HasSubstr("CUDA error: invalid device ordinal")));
  EXPECT_THAT([] { set_current_gpu(-1); },
              ThrowsMessage<c10::Error>(HasSubstr("there are 2 (virtual) GPUs")));
}

TEST(Devices, EachThreadHasItsCurrentOne) {
  const VirtualGpusOn on(2);
  set_current_gpu(1);
  std::thread([] { EXPECT_EQ(current_gpu(), 0); }).join();
  EXPECT_EQ(current_gpu(), 1);
  set_current_gpu(0);
}

TEST(Devices, WhatMakesNoSenseIsRefused) {
  EXPECT_THAT([] { switch_on_virtual_gpus({.count = 0}); },
              ThrowsMessage<UsageError>(HasSubstr("count is 0")));
  EXPECT_THAT([] { switch_on_virtual_gpus({.count = 1, .memory_bytes = 0}); },
              ThrowsMessage<UsageError>(HasSubstr("memory_bytes is 0")));
}

}  // namespace
}  // namespace polyrank
