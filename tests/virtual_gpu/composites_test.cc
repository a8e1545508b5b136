#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/composites.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

TEST(Composites, AttentionTakesTheCpusWay) {
  const VirtualGpusOn on;
  const at::Tensor host = at::rand({2, 3, 8, 4}).requires_grad_();
  const at::Tensor gpu = host.detach().to(on_gpu()).requires_grad_();
  const at::Tensor of_host = at::scaled_dot_product_attention(host, host, host);
  const at::Tensor of_gpu = at::scaled_dot_product_attention(gpu, gpu, gpu);
  EXPECT_TRUE(of_gpu.is_cuda());
  EXPECT_TRUE(at::equal(of_gpu.cpu(), of_host));
  of_host.sum().backward();
  of_gpu.sum().backward();
  EXPECT_TRUE(gpu.grad().is_cuda());
  EXPECT_TRUE(at::equal(gpu.grad().cpu(), host.grad()));
}

TEST(Composites, DropoutThatDropsNothingReturnsItsOperand) {
  const VirtualGpusOn on;
  const at::Tensor x = at::rand(3, on_gpu());
  EXPECT_TRUE(at::dropout(x, 0.0, true).is_same(x));
  EXPECT_TRUE(at::dropout(x, 0.5, false).is_same(x));
}

TEST(Composites, LaterCallsChangeNothing) {
  const VirtualGpusOn on;
  place_gpu_composites();
  const at::Tensor x = at::rand({2, 3}, on_gpu());
  const at::Tensor w = at::rand({12, 3}, on_gpu());
  const at::Tensor r = at::rand({12, 3}, on_gpu());
  const auto [h, c] = at::lstm_cell(x, {x, x}, w, r);
  EXPECT_TRUE(h.is_cuda());
  EXPECT_TRUE(c.is_cuda());
}

}  // namespace
}  // namespace polyrank
