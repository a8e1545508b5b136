#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/runtime.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

TEST(Runtime, PyTorchHasCudaWhileGpusAreOn) {
  EXPECT_FALSE(at::hasCUDA());
  {
    const VirtualGpusOn on(2);
    EXPECT_TRUE(at::hasCUDA());
    EXPECT_EQ(at::accelerator::getAccelerator(), c10::kCUDA);
    EXPECT_EQ(at::accelerator::deviceCount(), 2);
  }
  EXPECT_FALSE(at::hasCUDA());
  EXPECT_FALSE(at::accelerator::getAccelerator().has_value());
}

TEST(Runtime, TensorsOutliveTheGpus) {
  at::Tensor tensor;
  {
    const VirtualGpusOn on;
    tensor = at::arange(3, on_gpu());
  }
  EXPECT_EQ(tensor.cpu().sum().item<float>(), 3);
  EXPECT_ANY_THROW(at::ones(1, on_gpu()));
}

TEST(Runtime, AutogradRunsOnAGpusTensors) {
  const VirtualGpusOn on;
  const at::Tensor x = at::full(3, 2.0, on_gpu()).requires_grad_();
  x.mul(x).sum().backward();
  EXPECT_EQ(x.grad().sum().item<float>(), 12);
}

}  // namespace
}  // namespace polyrank
