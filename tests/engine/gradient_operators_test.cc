#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/engine/gradient_operators.h>

#include <optional>
#include <vector>

namespace polyrank {
namespace {

// Of the table's first row, which is prod().
torch::jit::Stack gradient_of_prod(const at::Tensor& self, bool creates_graph) {
  const Derivative gradient{.row = 0, .order = 1};
  c10::List<std::optional<at::Tensor>> of_result;
  of_result.push_back(at::ones({}));
  const GradientArguments arguments{.gradients = of_result,
                                    .before = {self, c10::IValue()},
                                    .needed = c10::List<bool>({true}),
                                    .creates_graph = creates_graph};
  torch::jit::Stack stack = arguments.written();
  gradient.op().callBoxed(&stack);
  return stack;
}

TEST(GradientOperators, AreNamedByTheirOrder) {
  EXPECT_EQ((Derivative{.row = 0, .order = 0}).full_name(), "aten::prod");
  EXPECT_EQ((Derivative{.row = 1, .order = 2}).name_with_overload(),
            "polyrank::gradient_of_gradient_of_prod.dim_int");
  EXPECT_THROW((Derivative{.row = 0, .order = kMaxDerivative + 1}).op(), c10::Error);
}

TEST(GradientOperators, AreTakenOfEachCohort) {
  const torch::jit::Stack stack = gradient_of_prod(local_tensor({{1, 2, 3}, {4, 5, 6}}), false);
  const std::vector<at::Tensor> gradients = results_of(stack);
  ASSERT_EQ(gradients.size(), 1);
  EXPECT_EQ(values_on_rank(gradients[0], 0), (std::vector<float>{6, 3, 2}));
  EXPECT_EQ(values_on_rank(gradients[0], 1), (std::vector<float>{30, 24, 20}));
  EXPECT_EQ(stack[1].toIntVector(), std::vector<std::int64_t>{kConstant});
}

TEST(GradientOperators, TellWhatCanBeDifferentiatedAgain) {
  const torch::jit::Stack stack = gradient_of_prod(at::tensor({1.0F, 2.0F}), true);
  EXPECT_EQ(stack[1].toIntVector(), std::vector<std::int64_t>{kDifferentiable});
}

TEST(GradientOperators, TensorsOfListsAreFoundAndExchanged) {
  c10::List<std::optional<at::Tensor>> list;
  list.push_back(std::nullopt);
  list.push_back(at::ones({1}));
  const OpArguments arguments{list, 3, at::ones({2})};
  ASSERT_EQ(tensors_of(arguments).size(), 2);
  const OpArguments exchanged = with_tensors(arguments, {at::zeros({5}), at::zeros({6})});
  EXPECT_FALSE(exchanged[0].toOptionalTensorVector()[0].has_value());
  EXPECT_EQ(tensors_of(exchanged)[0].numel(), 5);
  EXPECT_EQ(exchanged[2].toTensor().numel(), 6);
  EXPECT_EQ(tensors_of(arguments)[1].numel(), 2);
}

}  // namespace
}  // namespace polyrank
