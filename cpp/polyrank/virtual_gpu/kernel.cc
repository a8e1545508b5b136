#include <ATen/core/dispatch/Dispatcher.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/host_call.h>
#include <polyrank/virtual_gpu/kernel.h>

#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

namespace polyrank {

namespace {

class GpuKernel final : public c10::OperatorKernel {
 public:
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet /*keys*/,
                  torch::jit::Stack* stack) {
    try {
      run(op, stack);
    } catch (const Error&) {
      if (interpreter_hooks().rethrow != nullptr) {
        interpreter_hooks().rethrow(std::current_exception());
      }
      throw;
    }
  }

 private:
  void run(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    std::call_once(info_made_, [&] { info_.emplace(op); });
    run_backward_here();
    HostCall call(op, *info_, stack);
    std::optional<HostDrawsAsGpu> draws;
    if (info_->draws_without_one) {
      draws.emplace(call.gpu());
    }
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
    call.take_back(stack);
  }

  std::once_flag info_made_;
  std::optional<GpuOperator> info_;
};

// Whether the CPU's kernel of `op` is to serve the GPU.
bool is_served(const c10::OperatorHandle& op) {
  using c10::DispatchKey;
  if (!op.hasSchema() || op.schema().getNamespace().value_or("") != "aten" ||
      op.hasKernelForDispatchKey(DispatchKey::CUDA)) {
    return false;
  }
  if (op.hasKernelForDispatchKey(DispatchKey::CPU)) {
    return true;
  }
  return !op.hasKernelForDispatchKey(DispatchKey::CompositeImplicitAutograd) &&
         (op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd) ||
          op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional));
}

class Kernels final {
 public:
  void place() {
    const std::lock_guard<std::mutex> lock(mutex_);
    c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
    place_record_stream(dispatcher);
    for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
      if (registrations_.contains(name)) {
        continue;
      }
      const auto op = dispatcher.findSchema(name);
      if (op && is_served(*op)) {
        registrations_.emplace(
            name, dispatcher.registerImpl(
                      name, c10::DispatchKey::CUDA,
                      c10::KernelFunction::makeFromBoxedFunctor(std::make_unique<GpuKernel>()),
                      std::nullopt, nullptr, "polyrank's virtual GPU"));
      }
    }
  }

 private:
  // The one operator of streams: work is done when it is launched, so nothing must be kept for it.
  void place_record_stream(c10::Dispatcher& dispatcher) {
    const c10::OperatorName name("aten::record_stream", "");
    if (!registrations_.contains(name)) {
      registrations_.emplace(
          name, dispatcher.registerImpl(name, c10::DispatchKey::CUDA,
                                        c10::KernelFunction::makeFromUnboxedLambda(
                                            [](at::Tensor& /*tensor*/, c10::Stream /*stream*/) {}),
                                        std::nullopt, nullptr, "polyrank's virtual GPU"));
    }
  }

  std::mutex mutex_;
  std::unordered_map<c10::OperatorName, c10::RegistrationHandleRAII> registrations_;
};

}  // namespace

void place_gpu_kernels() {
  static auto* kernels = new Kernels();  // lives as long as the dispatcher
  kernels->place();
}

}  // namespace polyrank
