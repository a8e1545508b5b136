// cpp/polyrank/engine/product_gradients.cc registers kernels; what they are for is at its top.
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <vector>

namespace polyrank {
namespace {

using Product = std::function<at::Tensor(const at::Tensor&)>;

at::Tensor gradient_of(const Product& product, const at::Tensor& input) {
  const at::Tensor x = input.detach().requires_grad_();
  return torch::autograd::grad({product(x).sum()}, {x})[0];
}

TEST(ProductGradients, HaveTheBitsOfEachRankAlone) {
  const std::vector<Product> products{
      [](const at::Tensor& x) { return at::prod(x); },
      [](const at::Tensor& x) { return at::prod(x.view({2, 3}), 1); },
      [](const at::Tensor& x) { return at::prod(x.view({2, 3}), 0, /*keepdim=*/true); },
      [](const at::Tensor& x) { return at::cumprod(x, 0); },
  };
  at::manual_seed(3);
  const at::Tensor random = at::rand({6});
  at::Tensor with_zero = at::rand({6});
  with_zero[2] = 0.0;
  const at::Tensor local = make_local_tensor({{0, random}, {1, with_zero}});
  for (std::size_t i = 0; i < products.size(); ++i) {
    const at::Tensor gradient = gradient_of(products[i], local);
    EXPECT_EQ(values_on_rank(gradient, 0), values(gradient_of(products[i], random))) << i;
    EXPECT_EQ(values_on_rank(gradient, 1), values(gradient_of(products[i], with_zero))) << i;
  }
}

TEST(ProductGradients, CanBeDifferentiatedAgain) {
  const at::Tensor x = local_tensor({{1, 2, 3}, {2, 2, 2}}).requires_grad_();
  const at::Tensor once = torch::autograd::grad({at::prod(x)}, {x}, {}, true, true)[0];
  const at::Tensor twice = torch::autograd::grad({once.sum()}, {x})[0];
  // Of the product of three, each derivative is the sum of the two others.
  EXPECT_EQ(values_on_rank(twice, 0), (std::vector<float>{5, 4, 3}));
  EXPECT_EQ(values_on_rank(twice, 1), (std::vector<float>{4, 4, 4}));
}

}  // namespace
}  // namespace polyrank
