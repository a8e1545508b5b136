#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/engine/first_key.h>
#include <polyrank/engine/run_operator.h>

#include <memory>
#include <optional>

namespace polyrank {
namespace {

using Call = void (*)(const c10::OperatorHandle&, c10::DispatchKeySet, torch::jit::Stack*);

class TestKernel final : public c10::OperatorKernel {
 public:
  explicit TestKernel(Call call) : call_(call) {}
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    call_(op, keys, stack);
  }

 private:
  Call call_;
};

// How many calls two cohorts' distance takes with such a kernel at the first key.
std::uint64_t calls_of_distance(Call call) {
  const auto kernel = c10::Dispatcher::singleton().registerImpl(
      {"aten::pairwise_distance", ""}, kFirstKey,
      c10::KernelFunction::makeFromBoxedFunctor(std::make_unique<TestKernel>(call)), std::nullopt,
      nullptr, "test");
  const at::Tensor input = local_tensor({{1, 2}, {3, 4}}).view({1, 2});
  reset_call_counts();
  const at::Tensor distance = at::pairwise_distance(input, at::zeros({1, 2}));
  EXPECT_NEAR(on_rank(distance, 1).item<double>(), 5, 1e-5);
  return call_counts().cohort_calls;
}

TEST(FirstKey, AnOperatorRunsWhole) { EXPECT_EQ(calls_of_distance(&call_whole), 2); }

TEST(FirstKey, OrAsPyTorchComposesIt) { EXPECT_GT(calls_of_distance(&call_composed), 2); }

}  // namespace
}  // namespace polyrank
