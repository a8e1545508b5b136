#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/registration.h>
#include <torch/library.h>

#include <optional>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

at::Tensor thrice(const at::Tensor& x) { return x * 3; }

TEST(Registration, LivesAsLongAsWhatIsReturned) {
  const VirtualGpusOn on;
  torch::Library library(torch::Library::DEF, "to_register", std::nullopt, __FILE__, __LINE__);
  library.def("thrice(Tensor x) -> Tensor");
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("to_register::thrice", "");
  const auto call = op.typed<at::Tensor(const at::Tensor&)>();
  {
    const auto registration = register_for_gpus(
        op.operator_name(), c10::KernelFunction::makeFromUnboxedFunction(TORCH_FN(thrice)));
    EXPECT_TRUE(op.hasKernelForDispatchKey(c10::DispatchKey::CUDA));
    EXPECT_EQ(call.call(at::ones({1}, on_gpu())).cpu().item<float>(), 3);
    EXPECT_ANY_THROW(call.call(at::ones({1})));  // the CPU has none
  }
  EXPECT_FALSE(op.hasKernelForDispatchKey(c10::DispatchKey::CUDA));
}

}  // namespace
}  // namespace polyrank
