#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/host_kernels.h>

namespace polyrank {
namespace {

TEST(HostKernels, StandWherePyTorchHasNoneForTheCpu) {
  EXPECT_NE(host_kernel_of({"aten::mm", "dtype"}), nullptr);
  EXPECT_NE(host_kernel_of({"aten::_scaled_dot_product_flash_attention", ""}), nullptr);
  EXPECT_EQ(host_kernel_of({"aten::mm", ""}), nullptr);
  EXPECT_EQ(host_kernel_of({"aten::no_such_operator", ""}), nullptr);
}

}  // namespace
}  // namespace polyrank
