#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/sync_batch_norm.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

constexpr double kEps = 1e-5;

TEST(SyncBatchNorm, OfOneRankIsBatchNorm) {
  const VirtualGpusOn on;
  const at::Tensor host = at::randn({5, 3, 4}).requires_grad_();
  const at::Tensor weight = at::randn({3});
  const at::Tensor bias = at::randn({3});
  const at::Tensor expected = at::batch_norm(host, weight, bias, {}, {}, true, 0.1, kEps, false);
  const at::Tensor gradient = at::randn_like(expected);
  expected.backward(gradient);

  const at::Tensor x = host.detach().to(on_gpu());
  const at::Tensor w = weight.to(on_gpu());
  const auto [mean, invstd] = at::batch_norm_stats(x, kEps);
  const at::Tensor y = at::batch_norm_elemt(x, w, bias.to(on_gpu()), mean, invstd, kEps);
  EXPECT_TRUE(y.is_cuda());
  EXPECT_TRUE(at::allclose(y.cpu(), expected, 1e-5, 1e-6));
  const at::Tensor dy = gradient.to(on_gpu());
  const auto [sum_dy, sum_dy_xmu, of_weight, of_bias] =
      at::batch_norm_backward_reduce(dy, x, mean, invstd, w, true, true, true);
  const at::Tensor count = at::full({1}, 20, on_gpu().dtype(at::kInt));
  const at::Tensor dx =
      at::batch_norm_backward_elemt(dy, x, mean, invstd, w, sum_dy, sum_dy_xmu, count);
  EXPECT_TRUE(at::allclose(dx.cpu(), host.grad(), 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(of_bias.cpu(), gradient.sum({0, 2}), 1e-5, 1e-5));
}

TEST(SyncBatchNorm, PartsOfABatchAreWeighedByTheirSizes) {
  const VirtualGpusOn on;
  const at::Tensor x = at::randn({7, 2}, on_gpu());
  const auto [mean, invstd] = at::batch_norm_stats(x, kEps);
  const auto [mean_a, invstd_a] = at::batch_norm_stats(x.narrow(0, 0, 2), kEps);
  const auto [mean_b, invstd_b] = at::batch_norm_stats(x.narrow(0, 2, 5), kEps);
  const at::Tensor running_mean = at::zeros({2}, on_gpu());
  const at::Tensor running_var = at::ones({2}, on_gpu());
  const at::Tensor counts = at::tensor({2.0F, 5.0F}).to(on_gpu());
  const auto [of_all, invstd_of_all] = at::batch_norm_gather_stats_with_counts(
      x, at::stack({mean_a, mean_b}), at::stack({invstd_a, invstd_b}), running_mean, running_var,
      0.1, kEps, counts);
  EXPECT_TRUE(at::allclose(of_all, mean, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(invstd_of_all, invstd, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(running_mean, mean * 0.1, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(running_var, 0.9 + at::var(x, 0, true) * 0.1, 1e-4, 1e-5));
}

TEST(SyncBatchNorm, HalfPrecisionIsSummedInFloat) {
  const VirtualGpusOn on;
  const at::Tensor x = at::randn({6, 2}, on_gpu()).to(at::kHalf);
  const auto [mean, invstd] = at::batch_norm_stats(x, kEps);
  EXPECT_EQ(mean.scalar_type(), at::kFloat);
  EXPECT_EQ(at::batch_norm_elemt(x, {}, {}, mean, invstd, kEps).scalar_type(), at::kHalf);
}

}  // namespace
}  // namespace polyrank
