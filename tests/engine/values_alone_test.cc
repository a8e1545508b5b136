// cpp/polyrank/engine/values_alone.cc registers kernels; what they are for is at its top.
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>

#include <functional>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;

TEST(ValuesAlone, HaveTheBitsOfEachRankAlone) {
  const std::vector<std::function<at::Tensor(const at::Tensor&)>> operators{
      [](const at::Tensor& x) { return at::linalg_svdvals(x); },
      [](const at::Tensor& x) { return at::linalg_eigvalsh(at::add(x, x.t())); },
      [](const at::Tensor& x) { return at::linalg_cond(x); },
      [](const at::Tensor& x) { return at::linalg_matrix_norm(x, "nuc"); },
  };
  at::manual_seed(5);
  for (int draw = 0; draw < 20; ++draw) {
    const std::vector<at::Tensor> alone{at::randn({2, 2}), at::randn({2, 2})};
    const at::Tensor local = make_local_tensor({{0, alone[0]}, {1, alone[1]}});
    for (const auto& op : operators) {
      for (std::int64_t rank = 0; rank < 2; ++rank) {
        EXPECT_EQ(values_on_rank(op(local), rank),
                  values(op(alone[static_cast<std::size_t>(rank)])));
      }
    }
  }
}

TEST(ValuesAlone, WriteTheirOutput) {
  at::Tensor out = replicated({0, 0}, 2);
  at::linalg_svdvals_out(out, local_tensor({{3, 0, 0, 2}, {5, 0, 0, 1}}).view({2, 2}));
  EXPECT_THAT(values_on_rank(out, 0), ElementsAre(3, 2));
  EXPECT_THAT(values_on_rank(out, 1), ElementsAre(5, 1));
}

TEST(ValuesAlone, GradientsArePyTorchs) {
  const at::Tensor x = local_tensor({{3, 0, 0, 2}, {5, 0, 0, 1}}).view({2, 2}).requires_grad_();
  at::linalg_svdvals(x).sum().backward();
  EXPECT_TRUE(at::allclose(on_rank(x.grad(), 1), at::eye(2)));
}

}  // namespace
}  // namespace polyrank
