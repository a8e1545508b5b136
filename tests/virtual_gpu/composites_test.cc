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

TEST(Composites, OperandsOnTwoDevicesAreRefused) {
  const VirtualGpusOn on;
  const at::Tensor host = at::rand({1, 2, 4, 4});
  const at::Tensor gpu = host.to(on_gpu());
  const at::Tensor mask = at::ones({4, 4}, at::kBool);
  EXPECT_THROW(at::scaled_dot_product_attention(gpu, host, gpu), c10::Error);
  EXPECT_THROW(at::scaled_dot_product_attention(host, gpu, host), c10::Error);
  EXPECT_THROW(at::scaled_dot_product_attention(gpu, gpu, gpu, mask), c10::Error);
  EXPECT_THROW(at::rms_norm(host, {4}, at::ones({4}, on_gpu())), c10::Error);
  const at::Tensor x = at::rand({2, 3});
  const at::Tensor w = at::rand({12, 3}, on_gpu());
  EXPECT_THROW(at::lstm_cell(x, {x, x}, w, w), c10::Error);
}

// As on a GPU, where they have to be.
TEST(Composites, BatchSizesAreOnTheCpu) {
  const VirtualGpusOn on;
  const at::Tensor rows = at::rand({5, 3}, on_gpu());
  const at::Tensor sizes = at::tensor({3, 2}, at::kLong);
  const at::Tensor w = at::rand({9, 3}, on_gpu());
  const auto [output, hidden] =
      at::gru(rows, sizes, at::zeros({1, 3, 3}, on_gpu()), {w, w}, /*has_biases=*/false,
              /*num_layers=*/1, /*dropout=*/0.0, /*train=*/false, /*bidirectional=*/false);
  EXPECT_TRUE(output.is_cuda());
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
