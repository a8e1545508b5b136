#include <c10/core/AllocatorConfig.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/allocator_settings.h>

#include <cstdlib>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class AllocatorSettings : public ::testing::Test {
 protected:
  static AllocatorOptions read(const char* text) {
    setenv("PYTORCH_ALLOC_CONF", text, 1);  // NOLINT(concurrency-mt-unsafe): one thread
    read_allocator_settings();
    return allocator_options();
  }
  ~AllocatorSettings() override {
    read("expandable_segments:False");
    unsetenv("PYTORCH_ALLOC_CONF");  // NOLINT(concurrency-mt-unsafe): one thread
  }
};

TEST_F(AllocatorSettings, AreReadAsPyTorchReadsThem) {
  const AllocatorOptions options = read(
      "max_split_size_mb:40,max_non_split_rounding_mb:30,garbage_collection_threshold:0.5,"
      "roundup_power2_divisions:[2:8,4:2,>:1],expandable_segments:True");
  EXPECT_EQ(options.max_split_size, 40 * kMiB);
  EXPECT_EQ(options.max_non_split_rounding, 30 * kMiB);
  EXPECT_EQ(options.garbage_collection_threshold, 0.5);
  EXPECT_TRUE(options.expandable_segments);
  EXPECT_EQ(options.roundup_power2_divisions[0], 8);
  EXPECT_EQ(options.roundup_power2_divisions[2], 2);
  EXPECT_EQ(options.roundup_power2_divisions[15], 1);
}

TEST_F(AllocatorSettings, WhatIsNotSaidIsTheDefault) {
  read("max_split_size_mb:40");
  EXPECT_EQ(read("expandable_segments:False").max_split_size, kUnlimited);
}

TEST_F(AllocatorSettings, KeysOfCudaAreKnown) {
  EXPECT_NO_THROW(read("per_process_memory_fraction:0.5,pinned_num_register_threads:8"));
  EXPECT_NO_THROW(read("backend:native"));
  EXPECT_THAT([] { read("backend:cudaMallocAsync"); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("cudaMallocAsync")));
}

TEST_F(AllocatorSettings, WrongTextIsRefusedAsPyTorchRefusesIt) {
  EXPECT_THROW(read("max_split_size_mb:1"), c10::Error);
  EXPECT_THROW(read("no_such_key:1"), c10::Error);
  EXPECT_THROW(read("expandable_segments:yes"), c10::Error);
}

TEST_F(AllocatorSettings, MayBeChangedLater) {
  read("expandable_segments:False");
  c10::CachingAllocator::setAllocatorSettings("expandable_segments:True");
  EXPECT_TRUE(allocator_options().expandable_segments);
}

}  // namespace
}  // namespace polyrank
