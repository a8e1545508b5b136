#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/world/module_scope.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/variable.h>

#include <string>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

std::vector<ModulePlace> places_in_backward;

// Passes its input on, and notes where its backward runs.
struct NotePlace : public torch::autograd::Function<NotePlace> {
  static at::Tensor forward(torch::autograd::AutogradContext* /*context*/, const at::Tensor& x) {
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* /*context*/,
                                                 torch::autograd::variable_list gradients) {
    places_in_backward.push_back(module_place());
    return gradients;
  }
};

TEST(ModuleScope, IsTheInnermostOfItsThread) {
  EXPECT_EQ(module_place().path, "");
  const ModuleScope outer("layers.0");
  {
    const ModuleScope inner(std::string("layers.0.") + "mlp");
    EXPECT_EQ(module_place().path, "layers.0.mlp");
    EXPECT_FALSE(module_place().is_backward);
    std::thread([] { EXPECT_EQ(module_place().path, ""); }).join();
  }
  EXPECT_EQ(module_place().path, "layers.0");
}

TEST(ModuleScope, IsFoundAgainInBackward) {
  const at::Tensor x = at::ones({2}).requires_grad_();
  at::Tensor y;
  {
    const ModuleScope outer("model");
    y = NotePlace::apply(x);
    {
      const ModuleScope inner("model.head");
      y = NotePlace::apply(y * 2);
    }
    y = y * 3;
    y = NotePlace::apply(y);
  }
  y = NotePlace::apply(y);
  places_in_backward.clear();
  y.sum().backward();
  ASSERT_EQ(places_in_backward.size(), 4U);
  const std::vector<std::string> expected = {"", "model", "model.head", "model"};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(places_in_backward[i].path, expected[i]);
    EXPECT_TRUE(places_in_backward[i].is_backward);
  }
}

TEST(ModuleScope, ForgetsNodesAndNotWhatRuns) {
  const at::Tensor x = at::ones({2}).requires_grad_();
  const ModuleScope scope("model");
  const at::Tensor y = NotePlace::apply(x);
  forget_module_nodes();
  EXPECT_EQ(module_place().path, "model");
  places_in_backward.clear();
  std::thread([&] { y.sum().backward(); }).join();
  ASSERT_EQ(places_in_backward.size(), 1U);
  EXPECT_EQ(places_in_backward[0].path, "");
}

TEST(ModuleScope, LeavingMoreThanWasEnteredIsNoCrash) {
  leave_module();
  EXPECT_EQ(module_place().path, "");
}

}  // namespace
}  // namespace polyrank
