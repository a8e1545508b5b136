#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/Exception.h>
#include <polyrank/virtual_gpu/missing_kernels.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace polyrank {

namespace {

struct OtherWay {
  std::string_view part;  // of operators' names
  std::string_view text;
};

// What runs on the CPU, too, and computes the same.
constexpr std::array kOtherWays{
    OtherWay{"attention", "torch.nn.functional.scaled_dot_product_attention runs"},
    OtherWay{"dropout", "torch.nn.functional.dropout runs"},
    OtherWay{"grouped_mm",
             "torch.nn.functional.grouped_mm of bfloat16, or a product for each group, runs"},
};

std::string_view other_way(std::string_view name) {
  const auto* const found = std::ranges::find_if(kOtherWays, [&](const OtherWay& way) {
    return name.find(way.part) != std::string_view::npos;
  });
  return found == kOtherWays.end() ? "Run what uses it on a real GPU, or leave it out"
                                   : found->text;
}

void refuse(const c10::OperatorHandle& op, c10::DispatchKeySet /*keys*/,
            torch::jit::Stack* /*stack*/) {
  const std::string name = c10::toString(op.operator_name());
  const bool is_of_torch = op.schema().getNamespace().value_or("") == "aten";
  const bool is_on_cpu = op.hasKernelForDispatchKey(c10::DispatchKey::CPU);
  TORCH_CHECK_NOT_IMPLEMENTED(!is_of_torch, "Could not run '", name,
                              "' with arguments from the 'CUDA' backend: PyTorch has ",
                              "it for GPUs alone, and a virtual GPU runs the CPU's kernels. ",
                              other_way(name), ".");
  TORCH_CHECK_NOT_IMPLEMENTED(
      false, "Could not run '", name, "' with arguments from the 'CUDA' backend: its package has ",
      is_on_cpu ? "a kernel for the CPU and none for CUDA" : "no kernel for CUDA",
      ", on a real GPU, too. Register one for \"CUDA\".");
}

}  // namespace

void place_refusals() {
  // Where an operator has any kernel for GPUs, PyTorch asks no fallback.
  static const auto* registration =
      new c10::RegistrationHandleRAII(c10::Dispatcher::singleton().registerFallback(
          c10::DispatchKey::CUDA, c10::KernelFunction::makeFromBoxedFunction<&refuse>(),
          "polyrank's virtual GPU"));  // as long as the dispatcher
  static_cast<void>(registration);
}

}  // namespace polyrank
