#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/pinned_memory.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

TEST(PinnedMemory, IsWhatItsAllocatorGaveOut) {
  const c10::DataPtr data = pinned_memory_allocator()->allocate(16);
  const auto* bytes = static_cast<const char*>(data.get());
  EXPECT_TRUE(is_pinned(bytes));
  EXPECT_TRUE(is_pinned(bytes + 15));
  EXPECT_FALSE(is_pinned(bytes + 16));
  EXPECT_FALSE(is_pinned(nullptr));
}

TEST(PinnedMemory, IsPinnedNoMoreWhenItIsFreed) {
  const void* address = nullptr;
  {
    const c10::DataPtr data = pinned_memory_allocator()->allocate(16);
    address = data.get();
  }
  EXPECT_FALSE(is_pinned(address));
}

TEST(PinnedMemory, TensorsSayIt) {
  const VirtualGpusOn on;
  const at::Tensor plain = at::ones(2);
  EXPECT_FALSE(plain.is_pinned());
  EXPECT_TRUE(plain.pin_memory().is_pinned());
  const at::Tensor copied = plain.to(at::kCUDA).to(at::kCPU, /*non_blocking=*/true);
  EXPECT_TRUE(copied.is_pinned());
  const void* address = copied.data_ptr();
  pin_in_place(copied.storage().unsafeGetStorageImpl());  // once more is as good
  EXPECT_EQ(copied.data_ptr(), address);
}

}  // namespace
}  // namespace polyrank
