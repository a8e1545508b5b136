// What kernels on the host's bytes are kept in.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/operator_name.h>

#include <type_traits>
#include <unordered_map>

namespace polyrank {

using HostKernels = std::unordered_map<c10::OperatorName, c10::KernelFunction>;

template <auto* kFunction>
c10::KernelFunction host_kernel() {
  return c10::KernelFunction::makeFromUnboxedFunction(
      c10::CompileTimeFunctionPointer<std::remove_pointer_t<decltype(kFunction)>, kFunction>());
}

// Of products whose result has a wider dtype than their operands
// (`torch.mm(a, b, out_dtype=torch.float32)`).
HostKernels host_products();

// Of the kernels of scaled_dot_product_attention for GPUs, forward and backward: those that
// tensors reach which handle operators themselves (DTensor's ring attention), or who calls them.
HostKernels host_attention();

}  // namespace polyrank
