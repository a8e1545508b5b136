// Kernels on the host's bytes of operators that PyTorch has for GPUs alone.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/operator_name.h>

namespace polyrank {

// The kernel that stands for the CPU's, which PyTorch has not. It takes tensors of the CPU.
// nullptr: there is none, or PyTorch has one.
const c10::KernelFunction* host_kernel_of(const c10::OperatorName& name);

}  // namespace polyrank
