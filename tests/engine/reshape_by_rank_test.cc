// cpp/polyrank/engine/reshape_by_rank.cc registers kernels; what they are for is at its top.
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <torch/csrc/autograd/autograd.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;

// Rank 0's rows lie one after the other, rank 1's columns do.
at::Tensor rows_and_columns() {
  const at::Tensor matrix = at::tensor({1.0F, 2.0F, 3.0F, 4.0F}).view({2, 2});
  return make_local_tensor({{0, matrix.clone()}, {1, matrix.t().contiguous().t()}});
}

TEST(ReshapeByRank, IsAViewOnTheRanksWhereItCanBeOne) {
  const at::Tensor x = rows_and_columns();
  const at::Tensor flat = x.reshape({4});
  EXPECT_THAT(values_on_rank(flat, 0), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(values_on_rank(flat, 1), ElementsAre(1, 2, 3, 4));
  flat.add_(10);
  EXPECT_THAT(values_on_rank(x, 0), ElementsAre(11, 12, 13, 14));  // a view
  EXPECT_THAT(values_on_rank(x, 1), ElementsAre(1, 2, 3, 4));      // a copy
}

TEST(ReshapeByRank, ContiguousIsTheTensorItselfWhereItIs) {
  const at::Tensor x = rows_and_columns();
  const at::Tensor dense = x.contiguous();
  dense.mul_(2);
  EXPECT_THAT(values_on_rank(x, 0), ElementsAre(2, 4, 6, 8));
  EXPECT_THAT(values_on_rank(x, 1), ElementsAre(1, 2, 3, 4));
}

TEST(ReshapeByRank, GradientsGoThroughIt) {
  const at::Tensor x = rows_and_columns().requires_grad_();
  const at::Tensor weights = at::tensor({1.0F, 2.0F, 3.0F, 4.0F});
  const at::Tensor loss = at::mul(x.reshape({4}), weights).sum();
  const at::Tensor gradient = torch::autograd::grad({loss}, {x})[0];
  EXPECT_THAT(values_on_rank(gradient, 0), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(values_on_rank(gradient, 1), ElementsAre(1, 2, 3, 4));
}

TEST(ReshapeByRank, IsPyTorchsWhereAllRanksAgree) {
  const at::Tensor x = local_tensor({{1, 2}, {3, 4}});
  EXPECT_TRUE(x.contiguous().is_same(x));
  x.reshape({2, 1}).add_(1);
  EXPECT_THAT(values_on_rank(x, 1), ElementsAre(4, 5));
}

}  // namespace
}  // namespace polyrank
