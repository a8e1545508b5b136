#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <operators.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/operator_info.h>
#include <torch/library.h>

#include <memory>

namespace polyrank {
namespace {

using ::testing::ElementsAre;

bool is_local(const at::Tensor& tensor) { return LocalTensorImpl::from(tensor) != nullptr; }

// Who runs an operator: the rows of NOTE [The kernel at the Python key] that need no interpreter.

TEST(Kernel, LocalTensorsRunInTheEngineOutsideOfAnyMode) {
  const at::Tensor sum = at::add(local_tensor({{1}, {2}}), at::full({1}, 10.0));
  EXPECT_THAT(values_on_rank(sum, 1), ElementsAre(12));
}

class KernelInAMode : public ::testing::Test {
 protected:
  const at::Tensor plain_ = at::full({1}, 3.0);
  const at::Tensor local_ = local_tensor({{1}, {2}});
  const std::shared_ptr<LockstepMode> mode_ = std::make_shared<LockstepMode>(RankSet::first(2));
  const LockstepGuard guard_{mode_};
};

TEST_F(KernelInAMode, FactoriesMakeLocalTensors) {
  EXPECT_TRUE(is_local(at::zeros({2})));
  EXPECT_TRUE(is_local(at::zeros_like(plain_)));
  EXPECT_TRUE(is_local(at::rand({2})));
}

TEST_F(KernelInAMode, OperatorsOnPlainTensorsStayPlain) {
  EXPECT_FALSE(is_local(at::add(plain_, plain_)));
  EXPECT_FALSE(is_local(plain_.view({1, 1})));
  EXPECT_TRUE(is_local(at::add(plain_, local_)));
}

TEST_F(KernelInAMode, AutogradRunsOnceOnTheWrappers) {
  const at::Tensor weight = local_.detach().clone().requires_grad_();
  at::mul(weight, weight).sum().backward();
  ASSERT_TRUE(is_local(weight.grad()));
  EXPECT_THAT(values_on_rank(weight.grad(), 0), ElementsAre(2));
  EXPECT_THAT(values_on_rank(weight.grad(), 1), ElementsAre(4));
}

TORCH_LIBRARY(kernel_test, library) {
  library.def("doubled(Tensor x) -> Tensor");
  library.def("handled(Tensor x) -> Tensor");
  library.impl("doubled", torch::dispatch(c10::DispatchKey::CPU,
                                          torch::CppFunction::makeFromUnboxedFunction(
                                              +[](const at::Tensor& x) { return at::mul(x, 2); })));
}

TEST(Kernel, OperatorsThatAreRegisteredLaterAreCoveredToo) {
  torch::Library later(torch::Library::FRAGMENT, "kernel_test", std::nullopt, __FILE__, __LINE__);
  later.def("tripled(Tensor x) -> Tensor");
  torch::Library kernels(torch::Library::IMPL, "kernel_test", c10::DispatchKey::CPU, __FILE__,
                         __LINE__);
  kernels.impl("tripled", [](const at::Tensor& x) { return at::mul(x, 3); });
  cover_operators();
  for (const auto& [name, expected] :
       {std::pair{"kernel_test::doubled", 4.0F}, std::pair{"kernel_test::tripled", 6.0F}}) {
    auto stack = stack_of(local_tensor({{1}, {2}}));
    find_operator(name).callBoxed(&stack);
    EXPECT_THAT(values_on_rank(stack[0].toTensor(), 1), ElementsAre(expected)) << name;
  }
}

void answer_minus_one(const c10::OperatorHandle& /*op*/, torch::jit::Stack* stack) {
  torch::jit::drop(*stack, 1);
  stack->emplace_back(at::full({1}, -1.0));
}

TEST(Kernel, AnOperatorWithAHandlerIsHandedOver) {
  register_operator_handler("kernel_test::handled", &answer_minus_one);
  auto stack = stack_of(local_tensor({{1}, {2}}));
  find_operator("kernel_test::handled").callBoxed(&stack);
  EXPECT_THAT(values(stack[0].toTensor()), ElementsAre(-1));
}

}  // namespace
}  // namespace polyrank
