// cpp/polyrank/engine/gradients_alone.cc registers kernels; what they are for is at its top.
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace polyrank {
namespace {

struct Case {
  std::string name;
  std::function<at::Tensor(const at::Tensor&)> function;  // of nine numbers
};

at::Tensor matrix(const at::Tensor& x) { return x.view({3, 3}); }

std::vector<Case> cases() {
  return {
      {"prod", [](const at::Tensor& x) { return at::prod(x); }},
      {"prod of rows", [](const at::Tensor& x) { return at::prod(matrix(x), 1); }},
      {"prod of columns", [](const at::Tensor& x) { return at::prod(matrix(x), 0, true); }},
      {"cumprod", [](const at::Tensor& x) { return at::cumprod(x, 0); }},
      {"det", [](const at::Tensor& x) { return at::linalg_det(matrix(x)); }},
      {"max", [](const at::Tensor& x) { return at::max(x); }},
      {"min", [](const at::Tensor& x) { return at::min(x); }},
      {"median", [](const at::Tensor& x) { return at::median(x); }},
      {"nanmedian", [](const at::Tensor& x) { return at::nanmedian(x); }},
      {"masked_fill", [](const at::Tensor& x) { return x.masked_fill(x.lt(0.6), x.sum()); }},
      {"ormqr", [](const at::Tensor& x) { return at::ormqr(matrix(x), matrix(x)[0], matrix(x)); }},
  };
}

// The gradient, which is -1/3 of the result's, and what comes of differentiating it again.
std::vector<at::Tensor> gradients_of(const Case& the_case, const at::Tensor& input,
                                     bool creates_graph) {
  const at::Tensor x = input.detach().requires_grad_();
  const at::Tensor result = the_case.function(x);
  const at::Tensor once = torch::autograd::grad({result}, {x}, {at::full_like(result, -1.0 / 3)},
                                                creates_graph, creates_graph)[0];
  if (!creates_graph || !once.requires_grad()) {
    return {once};
  }
  return {once, torch::autograd::grad({once.exp().sum()}, {x})[0]};
}

TEST(GradientsAlone, HaveTheBitsOfEachRankAlone) {
  at::manual_seed(3);
  const at::Tensor random = at::rand({9});
  at::Tensor with_zero = at::rand({9});
  with_zero[2] = 0.0;
  const at::Tensor local = make_local_tensor({{0, random}, {1, with_zero}});
  for (const Case& the_case : cases()) {
    for (const bool creates_graph : {false, true}) {
      const auto found = gradients_of(the_case, local, creates_graph);
      for (const std::int64_t rank : {0, 1}) {
        const auto alone = gradients_of(the_case, rank == 0 ? random : with_zero, creates_graph);
        ASSERT_EQ(found.size(), alone.size()) << the_case.name;
        for (std::size_t i = 0; i < found.size(); ++i) {
          EXPECT_TRUE(at::equal(on_rank(found[i], rank).view(at::kInt), alone[i].view(at::kInt)))
              << the_case.name << ", derivative " << i + 1 << " on rank " << rank << ": "
              << on_rank(found[i], rank) << alone[i];
        }
      }
    }
  }
}

TEST(GradientsAlone, AnInfiniteGradientStaysWhereItIs) {
  const at::Tensor x = local_tensor({{1, 3, 2, 3}, {3, 1, 2, 2}}).requires_grad_();
  const at::Tensor infinite = at::full({}, std::numeric_limits<float>::infinity());
  const at::Tensor gradient = torch::autograd::grad({at::max(x)}, {x}, {infinite})[0];
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(values_on_rank(gradient, 0), (std::vector<float>{0, inf, 0, inf}));
  EXPECT_EQ(values_on_rank(gradient, 1), (std::vector<float>{inf, 0, 0, 0}));
}

at::Tensor fourth_derivative(const at::Tensor& input) {
  const at::Tensor x = input.detach().requires_grad_();
  at::Tensor derivative = at::prod(x);
  for (int order = 0; order < 4; ++order) {
    derivative = torch::autograd::grad({derivative.sum()}, {x}, {}, true, true)[0];
  }
  return derivative;
}

TEST(GradientsAlone, CanBeDifferentiatedAgainAndAgain) {
  const at::Tensor numbers = at::tensor({1.0F, 2.0F, 3.0F, 4.0F, 5.0F});
  const at::Tensor twos = at::full({5}, 2.0F);
  const at::Tensor found = fourth_derivative(make_local_tensor({{0, numbers}, {1, twos}}));
  EXPECT_EQ(values_on_rank(found, 0), values(fourth_derivative(numbers)));
  EXPECT_EQ(values_on_rank(found, 1), values(fourth_derivative(twos)));
  EXPECT_THAT(values(fourth_derivative(twos)), testing::Each(testing::FloatNear(48, 1e-3F)));
}

}  // namespace
}  // namespace polyrank
