#include <polyrank/virtual_gpu/registration.h>

#include <optional>
#include <utility>

namespace polyrank {

c10::RegistrationHandleRAII register_for_gpus(const c10::OperatorName& name,
                                              c10::KernelFunction kernel, c10::DispatchKey key) {
  return c10::Dispatcher::singleton().registerImpl(name, key, std::move(kernel), std::nullopt,
                                                   nullptr, "polyrank's virtual GPU");
}

}  // namespace polyrank
