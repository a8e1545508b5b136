#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/missing_kernels.h>
#include <torch/library.h>

#include <functional>
#include <string>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

std::string refused(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::NotImplementedError& error) {
    return error.what_without_backtrace();
  }
  return "";
}

TEST(MissingKernels, OfOperatorsForGpusAloneAreTold) {
  const VirtualGpusOn on;
  const at::Tensor x = at::ones({2, 2}, on_gpu());
  const std::string of_dropout = refused([&] { at::_fused_dropout(x, 0.5); });
  EXPECT_EQ(of_dropout.rfind("Could not run 'aten::_fused_dropout' with arguments from the 'CUDA' "
                             "backend: PyTorch has it for GPUs alone",
                             0),
            0);
  EXPECT_NE(of_dropout.find("torch.nn.functional.dropout runs"), std::string::npos);
  const std::string of_compression = refused([&] { at::_cslt_compress(x); });
  EXPECT_NE(of_compression.find("on a real GPU"), std::string::npos);
}

TEST(MissingKernels, OfPackagesAreTheirs) {
  const VirtualGpusOn on;
  torch::Library library(torch::Library::DEF, "of_a_package", std::nullopt, __FILE__, __LINE__);
  library.def("twice(Tensor x) -> Tensor");
  library.impl("twice",
               torch::dispatch(c10::DispatchKey::CPU, [](const at::Tensor& x) { return x + x; }));
  const auto twice = c10::Dispatcher::singleton()
                         .findSchemaOrThrow("of_a_package::twice", "")
                         .typed<at::Tensor(const at::Tensor&)>();
  EXPECT_EQ(twice.call(at::ones({1})).item<float>(), 2);
  const std::string told = refused([&] { twice.call(at::ones({1}, on_gpu())); });
  EXPECT_NE(told.find("a kernel for the CPU and none for CUDA"), std::string::npos) << told;
}

TEST(MissingKernels, AreNoneOfOperatorsThatHaveOne) {
  const VirtualGpusOn on;
  place_refusals();  // once more
  const at::Tensor x = at::ones({2}, on_gpu());
  EXPECT_EQ((x + x).cpu().sum().item<float>(), 4);
}

}  // namespace
}  // namespace polyrank
