#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/kernel.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

TEST(Kernel, ValuesAreTheCpus) {
  const VirtualGpusOn on;
  const at::Tensor a = at::rand({17, 9});
  const at::Tensor b = at::rand({9, 5});
  const at::Tensor product = at::matmul(a.to(on_gpu()), b.to(on_gpu()));
  EXPECT_TRUE(product.is_cuda());
  EXPECT_TRUE(at::equal(product.cpu(), at::matmul(a, b)));
}

TEST(Kernel, InPlaceAndOutReturnTheOperand) {
  const VirtualGpusOn on;
  at::Tensor x = at::ones(3, on_gpu());
  EXPECT_TRUE(x.add_(1).is_same(x));
  at::Tensor out = at::empty(0, on_gpu());
  EXPECT_TRUE(at::add_out(out, x, x).is_same(out));
  EXPECT_EQ(out.sizes(), at::IntArrayRef({3}));
  EXPECT_EQ(out.sum().item<float>(), 12);
}

TEST(Kernel, ViewsShareTheStorage) {
  const VirtualGpusOn on;
  const at::Tensor x = at::zeros({2, 2}, on_gpu());
  const at::Tensor row = x.select(0, 1);
  EXPECT_TRUE(row.is_alias_of(x));
  row.fill_(3);
  EXPECT_EQ(x.sum().item<float>(), 6);
}

TEST(Kernel, LaterCallsChangeNothing) {
  const VirtualGpusOn on;
  place_gpu_kernels(/*has_bytes=*/true);
  EXPECT_EQ(at::ones(2, on_gpu()).sum().item<float>(), 2);
}

}  // namespace
}  // namespace polyrank
