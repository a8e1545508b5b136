#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

struct Operands {
  at::Tensor query = at::randn({2, 4, 6, 8});
  at::Tensor key = at::randn({2, 4, 6, 8});
  at::Tensor value = at::randn({2, 4, 6, 8});
  at::Tensor gradient = at::randn({2, 4, 6, 8});
};

void expect_close(const at::Tensor& found, const at::Tensor& expected) {
  EXPECT_TRUE(found.is_cuda());
  EXPECT_TRUE(at::allclose(found.cpu(), expected, 1e-4, 1e-5)) << found.cpu() << expected;
}

// Attention by its formula, and gradients of query, key and value.
std::vector<at::Tensor> by_formula(const Operands& host, const at::Tensor& mask) {
  const std::vector<at::Tensor> leaves{host.query.clone().requires_grad_(),
                                       host.key.clone().requires_grad_(),
                                       host.value.clone().requires_grad_()};
  const at::Tensor scores = leaves[0].matmul(leaves[1].transpose(-1, -2)) / std::sqrt(8.0) + mask;
  const at::Tensor output = scores.softmax(-1).matmul(leaves[2]);
  output.backward(host.gradient);
  return {output.detach(), scores.logsumexp(-1).detach(), leaves[0].grad(), leaves[1].grad(),
          leaves[2].grad()};
}

at::Tensor causal() {
  return at::full({6, 6}, -std::numeric_limits<double>::infinity(), at::kFloat).triu(1);
}

TEST(HostAttention, OfFlashIsTheFormulas) {
  const VirtualGpusOn on;
  const Operands host;
  const auto expected = by_formula(host, causal());
  const at::Tensor q = gpu(host.query);
  const at::Tensor k = gpu(host.key);
  const at::Tensor v = gpu(host.value);
  const auto found = at::_scaled_dot_product_flash_attention(q, k, v, 0, /*is_causal=*/true);
  expect_close(std::get<0>(found), expected[0]);
  expect_close(std::get<1>(found), expected[1]);
  const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_backward(
      gpu(host.gradient), q, k, v, std::get<0>(found), std::get<1>(found), std::get<2>(found),
      std::get<3>(found), 6, 6, 0, true, std::get<6>(found), std::get<7>(found));
  expect_close(dq, expected[2]);
  expect_close(dk, expected[3]);
  expect_close(dv, expected[4]);
}

TEST(HostAttention, OfEfficientAndCudnnTakesAMask) {
  const VirtualGpusOn on;
  const Operands host;
  const at::Tensor mask = at::randn({6, 6});
  const auto expected = by_formula(host, mask);
  const at::Tensor q = gpu(host.query);
  const at::Tensor k = gpu(host.key);
  const at::Tensor v = gpu(host.value);
  const at::Tensor bias = gpu(mask);
  const auto [output, logsumexp, seed, offset] =
      at::_scaled_dot_product_efficient_attention(q, k, v, bias, /*compute_log_sumexp=*/true);
  expect_close(output, expected[0]);
  EXPECT_EQ(logsumexp.size(2), 32);  // whole tiles
  expect_close(logsumexp.slice(2, 0, 6), expected[1]);
  const auto gradients = at::_scaled_dot_product_efficient_attention_backward(
      gpu(host.gradient), q, k, v, bias, output, logsumexp, seed, offset, 0,
      {true, true, true, false});
  expect_close(std::get<1>(gradients), expected[3]);

  const auto cudnn = at::_scaled_dot_product_cudnn_attention(q, k, v, bias, true);
  expect_close(std::get<0>(cudnn), expected[0]);
  expect_close(std::get<1>(cudnn).squeeze(-1), expected[1]);
}

TEST(HostAttention, WhoseCausalMaskIsAnotherIsRefused) {
  const VirtualGpusOn on;
  const at::Tensor x = gpu(at::randn({1, 1, 2, 8}));
  const at::Tensor longer = gpu(at::randn({1, 1, 3, 8}));
  EXPECT_THROW(at::_scaled_dot_product_flash_attention(x, longer, longer, 0, /*is_causal=*/true),
               c10::NotImplementedError);
  EXPECT_NO_THROW(at::_scaled_dot_product_flash_attention(x, longer, longer, 0));
}

TEST(HostAttention, DropsNothing) {
  const VirtualGpusOn on;
  const at::Tensor x = gpu(at::randn({1, 1, 2, 8}));
  EXPECT_THROW(at::_scaled_dot_product_flash_attention(x, x, x, 0.5), c10::NotImplementedError);
}

}  // namespace
}  // namespace polyrank
