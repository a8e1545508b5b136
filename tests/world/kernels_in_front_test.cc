#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/world/kernels_in_front.h>

#include <memory>
#include <string>
#include <utility>

namespace polyrank {
namespace {

// Writes down who is called, and calls what stands behind.
class Telling final : public c10::OperatorKernel {
 public:
  Telling(std::string* told, char name, c10::SafeKernelFunction behind)
      : told_(told), name_(name), behind_(std::move(behind)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    *told_ += name_;
    behind_.callBoxed(op, keys, stack);
  }

 private:
  std::string* told_;
  char name_;
  c10::SafeKernelFunction behind_;
};

KernelsInFront::Make telling(std::string* told, char name) {
  return [told, name](const CollectiveSpec& /*spec*/, c10::SafeKernelFunction behind) {
    return c10::KernelFunction::makeFromBoxedFunctor(
        std::make_unique<Telling>(told, name, std::move(behind)));
  };
}

at::Tensor wait(const at::Tensor& tensor) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow("_c10d_functional::wait_tensor", "")
      .typed<at::Tensor(const at::Tensor&)>()
      .call(tensor);
}

TEST(KernelsInFront, GoFirstTheLatestOfAll) {  // (1)
  std::string told;
  const KernelsInFront first(telling(&told, 'a'));
  const KernelsInFront second(telling(&told, 'b'));
  const at::Tensor x = at::ones({2});
  EXPECT_TRUE(wait(x).is_same(x));
  EXPECT_EQ(told, "ba");
}

TEST(KernelsInFront, LeaveNothingBehind) {  // (2)
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("c10d::allreduce_", "");
  const auto before = op.dumpState();
  std::string told;
  {
    const KernelsInFront kernels(telling(&told, 'a'));
    EXPECT_NE(op.dumpState(), before);
  }
  EXPECT_EQ(op.dumpState(), before);
}

}  // namespace
}  // namespace polyrank
