#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/host_memory.h>

namespace polyrank {
namespace {

at::Tensor as_on_host(const at::Tensor& tensor) { return at::ones(tensor.sizes()); }

class HostMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override { set_host_memory_of_cuda(&as_on_host); }
  void TearDown() override { set_host_memory_of_cuda(nullptr); }
};

// Of device cuda, without values: no memory is touched here.
at::Tensor on_gpu() {
  return at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(c10::Storage::use_byte_size_t(), 0,
                   c10::DataPtr(nullptr, c10::Device(c10::kCUDA, 1))),
      c10::DispatchKeySet(c10::DispatchKey::CUDA), caffe2::TypeMeta::Make<float>());
}

TEST_F(HostMemoryTest, OthersStayAsTheyAre) {
  const at::Tensor cpu = at::ones({2});
  const at::Tensor meta = at::ones({2}, at::kMeta);
  CollectiveCall call;
  call.units = {{{cpu, meta}, {at::Tensor(), cpu}}};
  move_to_host_memory(&call);
  const CollectiveUnit& unit = call.units.front();
  EXPECT_TRUE(unit.inputs[0].is_same(cpu));  // (2)
  EXPECT_TRUE(unit.inputs[1].is_same(meta));
  EXPECT_FALSE(unit.outputs[0].defined());
  EXPECT_TRUE(unit.outputs[1].is_same(cpu));
}

TEST_F(HostMemoryTest, WhatWasOneTensorStaysOne) {
  const at::Tensor one = on_gpu();
  const at::Tensor other = on_gpu();
  CollectiveCall call;
  call.units = {{{one}, {one}}, {{other}, {}}};
  call.premul_factor = other;
  move_to_host_memory(&call);
  EXPECT_TRUE(call.units[0].inputs[0].is_cpu());
  EXPECT_TRUE(call.units[0].outputs[0].is_same(call.units[0].inputs[0]));  // (1)
  EXPECT_FALSE(call.units[1].inputs[0].is_same(call.units[0].inputs[0]));
  EXPECT_TRUE(call.premul_factor.is_same(call.units[1].inputs[0]));
}

TEST_F(HostMemoryTest, WithoutAnybodyWhoKnowsNothingIsMoved) {
  set_host_memory_of_cuda(nullptr);
  const at::Tensor gpu = on_gpu();
  CollectiveCall call;
  call.units = {{{gpu}, {gpu}}};
  move_to_host_memory(&call);
  EXPECT_TRUE(call.units.front().inputs[0].is_same(gpu));
}

}  // namespace
}  // namespace polyrank
