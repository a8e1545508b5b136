// Registers kernels of virtual GPUs with PyTorch's dispatcher.
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace polyrank {

// The operator's kernel at that key, as long as what is returned lives.
c10::RegistrationHandleRAII register_for_gpus(const c10::OperatorName& name,
                                              c10::KernelFunction kernel,
                                              c10::DispatchKey key = c10::DispatchKey::CUDA);

}  // namespace polyrank
