#include <ATen/core/dispatch/Dispatcher.h>
#include <polyrank/virtual_gpu/host_kernel_table.h>
#include <polyrank/virtual_gpu/host_kernels.h>

namespace polyrank {

namespace {

HostKernels all_kernels() {
  HostKernels kernels = host_products();
  kernels.merge(host_attention());
  return kernels;
}

}  // namespace

const c10::KernelFunction* host_kernel_of(const c10::OperatorName& name) {
  static const auto* const kernels = new HostKernels(all_kernels());
  const auto found = kernels->find(name);
  if (found == kernels->end()) {
    return nullptr;
  }
  const auto op = c10::Dispatcher::singleton().findSchema(name);
  return op && !op->hasKernelForDispatchKey(c10::DispatchKey::CPU) ? &found->second : nullptr;
}

}  // namespace polyrank
