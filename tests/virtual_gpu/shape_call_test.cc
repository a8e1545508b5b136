#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/reads.h>
#include <polyrank/virtual_gpu/shape_call.h>
#include <polyrank/virtual_gpu/storage.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

constexpr std::int64_t kMuch = std::int64_t{1} << 32;  // elements

std::int64_t allocated() { return rank_gpus()->statistics(0).allocated_bytes.all.current; }

TEST(ShapeCall, TensorsTakeTheGpusMemoryAndNoneOfTheHosts) {
  const GpusWithoutBytesOn on;
  const at::Tensor tensor = at::empty(kMuch, on_gpu());
  EXPECT_EQ(allocated(), 4 * kMuch);
  const at::Tensor sum = tensor + tensor;
  EXPECT_EQ(sum.device(), c10::Device(c10::kCUDA, 0));
  EXPECT_EQ(allocated(), 8 * kMuch);
}

TEST(ShapeCall, ViewsShareTheirStorage) {
  const GpusWithoutBytesOn on;
  const at::Tensor tensor = at::empty({4, 6}, on_gpu());
  const at::Tensor view = tensor.t().slice(0, 1, 3);
  EXPECT_EQ(view.storage().unsafeGetStorageImpl(), tensor.storage().unsafeGetStorageImpl());
  EXPECT_EQ(view.strides(), (std::vector<std::int64_t>{1, 6}));
  EXPECT_EQ(view.storage_offset(), 1);
  EXPECT_EQ(allocated(), 512);
}

TEST(ShapeCall, PartsOfFakeTensorsStayWhereTheyAre) {
  const GpusWithoutBytesOn on;
  // A FakeTensorMode calls kernels of CUDA with tensors of device "meta".
  const at::Tensor part = at::empty({4, 6}, at::TensorOptions().device(c10::kMeta));
  torch::jit::Stack stack{part, 0, 1};
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::transpose", "int");
  op.callBoxedForDispatchKey(c10::DispatchKey::CUDA, stack);
  const at::Tensor view = stack.at(0).toTensor();
  EXPECT_TRUE(view.is_meta());
  EXPECT_EQ(view.storage().unsafeGetStorageImpl(), part.storage().unsafeGetStorageImpl());
  EXPECT_EQ(allocated(), 0);
}

TEST(ShapeCall, WhatIsReadIsAStandInThatIsKept) {
  const GpusWithoutBytesOn on;
  clear_reads(OnRead::kAssume);
  EXPECT_EQ(at::rand({}, on_gpu()).item<float>(), 1.0F);
  EXPECT_FALSE(at::rand({3}, on_gpu()).gt(2).any().item<bool>());
  EXPECT_TRUE(at::rand({2, 3}, on_gpu()).cpu().eq(1).all().item<bool>());
  EXPECT_FALSE(at::equal(at::rand({3}, on_gpu()), at::rand({3}, on_gpu())));
  ASSERT_EQ(data_reads().size(), 4U);
}

TEST(ShapeCall, CopiesOfListsAreReadsToo) {
  const GpusWithoutBytesOn on;
  clear_reads(OnRead::kAssume);
  const at::Tensor cpu = at::zeros({3});
  const at::Tensor gpu = at::empty({3}, on_gpu());
  std::vector<at::Tensor> targets{cpu, gpu, at::zeros({2})};
  at::_foreach_copy_(targets, {gpu, cpu, at::ones({2})});
  EXPECT_TRUE(cpu.eq(1).all().item<bool>());
  EXPECT_TRUE(targets[2].eq(1).all().item<bool>());
  EXPECT_EQ(data_reads().size(), 1U);
}

TEST(ShapeCall, NothingIsLeftUnwrittenOnTheCpu) {
  const GpusWithoutBytesOn on;
  at::Tensor cpu = at::zeros({3});
  EXPECT_THROW(at::resize_as_(cpu, at::empty({4}, on_gpu())), UnsupportedOpError);
}

TEST(ShapeCall, TensorsOfTheCpuStayReal) {
  const GpusWithoutBytesOn on;
  const at::Tensor cpu = at::arange(4);
  const at::Tensor gpu = cpu.to(c10::kCUDA);
  EXPECT_TRUE(gpu.is_cuda());
  EXPECT_EQ(cpu.sum().item<std::int64_t>(), 6);
  EXPECT_TRUE(at::zeros_like(gpu, gpu.options().device(c10::kCPU)).eq(0).all().item<bool>());
}

TEST(ShapeCall, MoreThanTheGpuHasIsOutOfMemory) {
  const GpusWithoutBytesOn on(std::int64_t{1} << 30);
  const at::Tensor tensor = at::empty(std::int64_t{600} << 20, on_gpu().dtype(at::kByte));
  EXPECT_THROW(static_cast<void>(tensor.clone()), c10::OutOfMemoryError);
  EXPECT_EQ(allocated(), std::int64_t{600} << 20);
}

TEST(ShapeCall, StreamsKeepWhatTheyUse) {
  const GpusWithoutBytesOn on;
  {
    const at::Tensor tensor = at::empty(std::int64_t{1} << 20, on_gpu());
    record_gpu_stream(tensor, c10::Stream(c10::Stream::UNSAFE, {c10::kCUDA, 0}, 5));
  }
  EXPECT_EQ(allocated(), 0);
  EXPECT_EQ(rank_gpus()->statistics(0).active_bytes.all.current, std::int64_t{4} << 20);
}

}  // namespace
}  // namespace polyrank
