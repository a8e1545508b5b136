#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/storage.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

c10::StorageImpl* storage_of(const at::Tensor& tensor) {
  return tensor.storage().unsafeGetStorageImpl();
}

TEST(Storage, OfAGpuHasTheBytesOfItsHostStorage) {
  const VirtualGpusOn on;
  const at::Tensor tensor = at::arange(4, on_gpu());
  EXPECT_EQ(host_storage(*storage_of(tensor))->data(), storage_of(tensor)->data());
  EXPECT_EQ(host_storage(*storage_of(at::ones(4))), nullptr);
}

TEST(Storage, TensorsOverOneMemorySeeEachOthersWrites) {
  const VirtualGpusOn on;
  const at::Tensor gpu = at::zeros({2, 3}, on_gpu()).t();
  const at::Tensor host = host_tensor(gpu);
  EXPECT_TRUE(host.is_cpu());
  EXPECT_EQ(host.strides(), gpu.strides());
  host.fill_(7);
  EXPECT_TRUE(gpu.cpu().eq(7).all().item<bool>());
}

TEST(Storage, KeepsWhatFitsWhenItIsResized) {
  const VirtualGpusOn on;
  const at::Tensor tensor = at::arange(4, on_gpu().dtype(at::kLong));
  const auto before = rank_gpus()->statistics(0).requested_bytes.all.current;
  resize_gpu_storage(storage_of(tensor), 80);
  EXPECT_EQ(storage_of(tensor)->nbytes(), 80U);
  EXPECT_EQ(rank_gpus()->statistics(0).requested_bytes.all.current, before + 48);
  EXPECT_EQ(tensor.sum().item<std::int64_t>(), 6);
  resize_gpu_storage(storage_of(tensor), 0);
  EXPECT_EQ(rank_gpus()->statistics(0).requested_bytes.all.current, before - 32);
}

TEST(Storage, OfTheCpuIsNotAGpus) {
  const VirtualGpusOn on;
  const at::Tensor tensor = at::ones(4);
  EXPECT_THAT([&] { resize_gpu_storage(storage_of(tensor), 8); },
              ThrowsMessage<UsageError>(HasSubstr("on no virtual GPU")));
}

TEST(Storage, TheAllocatorGivesMemoryOfTheCurrentGpu) {
  const VirtualGpusOn on(2);
  set_current_gpu(1);
  const c10::DataPtr data = gpu_allocator()->allocate(16);
  set_current_gpu(0);
  EXPECT_EQ(data.device(), c10::Device(c10::kCUDA, 1));
  EXPECT_EQ(rank_gpus()->statistics(1).requested_bytes.all.current, 16);
}

}  // namespace
}  // namespace polyrank
