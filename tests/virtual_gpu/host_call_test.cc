#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/host_call.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

c10::OperatorHandle operator_of(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
}

TEST(HostCall, KnowsAnOperatorByItsSchema) {
  const GpuOperator bernoulli(operator_of("aten::bernoulli_", "float"));
  EXPECT_TRUE(bernoulli.is_written[0]);
  EXPECT_EQ(bernoulli.generator_argument, 2);
  EXPECT_FALSE(bernoulli.draws_without_one);
  const GpuOperator dropout(operator_of("aten::native_dropout", ""));
  EXPECT_FALSE(dropout.is_written[0]);
  EXPECT_TRUE(dropout.draws_without_one);
  EXPECT_EQ(GpuOperator(operator_of("aten::index", "Tensor")).devices, DeviceRule::kFirstOnGpu);
}

TEST(HostCall, GivesTheCpusOperandsAndTakesTheResultsBack) {
  const VirtualGpusOn on(2);
  const c10::OperatorHandle op = operator_of("aten::neg", "");
  const GpuOperator info(op);
  const at::Tensor x = at::ones(2, on_gpu(1));
  torch::jit::Stack stack{x};
  HostCall call(op, info, &stack);
  ASSERT_TRUE(stack[0].toTensor().is_cpu());
  EXPECT_EQ(stack[0].toTensor().data_ptr(), x.data_ptr());
  EXPECT_EQ(call.gpu(), 1);
  stack[0] = at::neg(stack[0].toTensor());
  call.take_back(&stack);
  EXPECT_EQ(stack[0].toTensor().device(), c10::Device(c10::kCUDA, 1));
}

TEST(HostCall, AGeneratorOfAGpuDrawsNothingOnTheCpu) {
  const VirtualGpusOn on;
  const at::Generator generator = default_gpu_generator(0);
  const auto refuses = ThrowsMessage<c10::Error>(
      HasSubstr("Expected a 'cpu' device type for generator but found 'cuda'"));
  EXPECT_THAT([&] { at::randn({3}, generator); }, refuses);
  EXPECT_THAT([&] { at::randperm(3, generator); }, refuses);
  EXPECT_THAT([&] { at::empty({3}).uniform_(0, 1, generator); }, refuses);
  EXPECT_TRUE(at::randn({3}, generator, on_gpu()).is_cuda());
  EXPECT_TRUE(at::empty({3}, on_gpu()).uniform_(0, 1, generator).is_cuda());
}

TEST(HostCall, OperandsOnTwoDevicesAreAnError) {
  const VirtualGpusOn on(2);
  const at::Tensor first = at::ones(2, on_gpu(0));
  EXPECT_THAT([&] { at::add(first, at::ones(2)); },
              ThrowsMessage<c10::Error>(AllOf(HasSubstr("found at least two devices"),
                                              HasSubstr("cuda:0"), HasSubstr("cpu"))));
  EXPECT_THAT([&] { at::add(first, at::ones(2, on_gpu(1))); },
              ThrowsMessage<c10::Error>(HasSubstr("cuda:0 and cuda:1")));
  EXPECT_THAT([&] { at::index(at::ones(2), {at::zeros(1, on_gpu().dtype(at::kLong))}); },
              ThrowsMessage<c10::Error>(HasSubstr("indices should be either on cpu")));
}

TEST(HostCall, NumbersAndIndicesMayBeTheCpus) {
  const VirtualGpusOn on;
  const at::Tensor x = at::arange(4, on_gpu());
  EXPECT_EQ(at::add(x, at::scalar_tensor(1)).sum().item<float>(), 10);
  EXPECT_EQ(at::index(x, {at::ones(2, at::kLong)}).sum().item<float>(), 2);
}

TEST(HostCall, WhatTheCpuHoldsIsNeverWrittenByAGpusResult) {
  const VirtualGpusOn on;
  at::Tensor number = at::scalar_tensor(1);
  EXPECT_THROW(number.add_(at::ones({}, on_gpu())), c10::Error);
}

TEST(HostCall, SparseTensorsAreRefused) {
  const VirtualGpusOn on;
  EXPECT_ANY_THROW(at::eye(2, on_gpu()).to_sparse());
}

}  // namespace
}  // namespace polyrank
