#include <ATen/core/dispatch/Dispatcher.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/gpu_timeline.h>
#include <polyrank/virtual_gpu/host_call.h>
#include <polyrank/virtual_gpu/host_kernels.h>
#include <polyrank/virtual_gpu/inner_memory.h>
#include <polyrank/virtual_gpu/kernel.h>
#include <polyrank/virtual_gpu/memory_history.h>
#include <polyrank/virtual_gpu/operator_work.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/registration.h>
#include <polyrank/virtual_gpu/shape_call.h>
#include <polyrank/virtual_gpu/storage.h>
#include <polyrank/virtual_gpu/streams.h>

#include <atomic>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

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
  void run(const c10::OperatorHandle& op, torch::jit::Stack* stack);
  void run_timed(const c10::OperatorHandle& op, c10::DeviceIndex gpu, GpuTimeline* timeline,
                 torch::jit::Stack* stack);

  std::once_flag info_made_;
  std::unique_ptr<const GpuOperator> info_;
  const InnerMemory* inner_ = nullptr;
  const c10::KernelFunction* host_ = nullptr;  // ours, where PyTorch has none for the CPU
};

// Takes what the operator has for itself, and gives it back (NOTE [Memory inside operators]).
void pass_through(const InnerMemory& inner, const PieceSizes& pieces, c10::DeviceIndex gpu) {
  const std::shared_ptr<RankGpus>& rank = rank_gpus();
  if (inner.takes_blas_workspace) {
    rank->use_blas_workspace(gpu);
  }
  std::deque<GpuBlock> blocks;
  for (const std::int64_t bytes : pieces) {
    if (bytes > 0) {
      blocks.emplace_back(rank.get(), gpu, bytes).set_owner("workspaces", inner.operation);
    }
  }
  while (!blocks.empty()) {
    blocks.pop_back();
  }
}

bool is_made_of_others(const c10::OperatorHandle& op) {
  using c10::DispatchKey;
  return !op.hasKernelForDispatchKey(DispatchKey::CompositeImplicitAutograd) &&
         (op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd) ||
          op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional));
}

// Whether the CPU's kernel of `op`, or ours in its place, is to serve the GPU.
bool has_kernel_of_cpu(const c10::OperatorHandle& op) {
  return op.schema().getNamespace().value_or("") == "aten" &&
         (op.hasKernelForDispatchKey(c10::DispatchKey::CPU) || is_made_of_others(op) ||
          host_kernel_of(op.operator_name()) != nullptr);
}

bool has_kernel_for_gpus(const c10::OperatorHandle& op) {
  using c10::DispatchKey;
  return op.hasKernelForDispatchKey(DispatchKey::CUDA) ||
         op.hasKernelForDispatchKey(DispatchKey::CompositeImplicitAutograd) ||
         is_made_of_others(op);
}

// Packages of PyTorch's own. What their operators do is said by operators of PyTorch.
bool is_pytorchs(const c10::OperatorHandle& op) {
  static const std::unordered_set<std::string_view> packages{"aten",
                                                             "prims",
                                                             "c10d",
                                                             "c10d_functional",
                                                             "_c10d_functional",
                                                             "_c10d_functional_autograd",
                                                             "fsdp",
                                                             "symm_mem",
                                                             "_dtensor",
                                                             "inductor",
                                                             "streams",
                                                             "rngprims"};
  return packages.contains(op.schema().getNamespace().value_or(""));
}

// Whether `op` is to be its shape function on GPUs without bytes. PyTorch's own operators that are
// made of others, or have a kernel of CUDA that is Python's, run as they are; kernels of others may
// be Triton's, or need a GPU. Of others that have no kernel for a GPU, the shape function that
// lacks says what to do.
bool is_its_shape_function(const c10::OperatorHandle& op) {
  const bool has_shape = op.hasKernelForDispatchKey(c10::DispatchKey::Meta);
  if (!is_pytorchs(op)) {
    return has_shape || !has_kernel_for_gpus(op);
  }
  return !op.hasKernelForDispatchKey(c10::DispatchKey::CUDA) &&
         (has_kernel_of_cpu(op) || (has_shape && !is_made_of_others(op)) ||
          is_whole_on_cuda_alone(op));
}

bool lacks_kernel_of_cuda(const c10::OperatorHandle& op) {
  return !op.hasKernelForDispatchKey(c10::DispatchKey::CUDA) && has_kernel_of_cpu(op);
}

class Quiet final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& /*warning*/) override {}
};

class Kernels final {
 public:
  static Kernels& instance() {
    static auto* kernels = new Kernels();  // lives as long as the dispatcher
    return *kernels;
  }

  void place(bool has_bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (has_bytes) {
      without_bytes_.clear();
    }
    place_record_stream();
    place_where(&lacks_kernel_of_cuda, &always_);
    if (!has_bytes) {
      place_where(&is_its_shape_function, &without_bytes_);
    }
  }

  // For operators that a program registers, or gives up, while GPUs without bytes are on.
  void follow_changes() {
    if (!has_changes_.load(std::memory_order_acquire) || gpus_have_bytes()) {
      return;
    }
    std::vector<c10::OperatorName> gone;
    {
      const std::lock_guard<std::mutex> lock(changes_mutex_);
      gone.swap(gone_);
      has_changes_ = false;
    }
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (const c10::OperatorName& name : gone) {
        without_bytes_.erase(name);
      }
    }
    place(/*has_bytes=*/false);
  }

 private:
  using Registrations = std::unordered_map<c10::OperatorName, c10::RegistrationHandleRAII>;

  // Runs under the dispatcher's lock, where nothing may be registered, and before the operator has
  // a kernel: so it only says that there is work for the next operator that runs.
  class Listener final : public c10::OpRegistrationListener {
   public:
    explicit Listener(Kernels* kernels) : kernels_(kernels) {}
    void onOperatorRegistered(const c10::OperatorHandle& /*op*/) override {
      kernels_->has_changes_ = true;
    }
    void onOperatorDeregistered(const c10::OperatorHandle& op) override {
      const std::lock_guard<std::mutex> lock(kernels_->changes_mutex_);
      kernels_->gone_.push_back(op.operator_name());
      kernels_->has_changes_ = true;
    }

   private:
    Kernels* kernels_;
  };

  Kernels()
      : listener_(c10::Dispatcher::singleton().addRegistrationListener(
            std::make_unique<Listener>(this))) {}

  static void place_where(bool (*is_served)(const c10::OperatorHandle&),
                          Registrations* registrations) {
    c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
    // A package's kernel for CUDA is taken over, which PyTorch would warn of.
    Quiet quiet;
    const c10::WarningUtils::WarningHandlerGuard silence(&quiet);
    for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
      const auto op = dispatcher.findSchema(name);
      if (op && op->hasSchema() && !registrations->contains(name) && is_served(*op)) {
        registrations->emplace(name,
                               register_for_gpus(name, c10::KernelFunction::makeFromBoxedFunctor(
                                                           std::make_unique<GpuKernel>())));
      }
    }
  }

  void place_record_stream() {
    const c10::OperatorName name("aten::record_stream", "");
    if (!always_.contains(name)) {
      always_.emplace(name, register_for_gpus(name, c10::KernelFunction::makeFromUnboxedLambda(
                                                        [](at::Tensor& tensor, c10::Stream stream) {
                                                          record_gpu_stream(tensor, stream);
                                                        })));
    }
  }

  std::atomic<bool> has_changes_{false};
  std::mutex changes_mutex_;
  std::vector<c10::OperatorName> gone_;  // guarded by changes_mutex_
  std::mutex mutex_;
  Registrations always_;
  Registrations without_bytes_;
  c10::RegistrationHandleRAII listener_;
};

void GpuKernel::run(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  std::call_once(info_made_, [&] {
    info_ = std::make_unique<const GpuOperator>(op);
    inner_ = inner_memory_of(info_->name);
    host_ = host_kernel_of(op.operator_name());
  });
  Kernels::instance().follow_changes();
  run_backward_here();
  const OperationScope scope(info_->name);
  HostCall call(op, *info_, stack);
  const InnerMemory* inner = call.has_bytes() ? nullptr : inner_;
  PieceSizes pieces;
  if (inner != nullptr && inner->pieces != nullptr) {
    pieces = inner->pieces(OperatorArguments(op, *stack));
  }
  if (call.has_bytes()) {
    std::optional<HostDrawsAsGpu> draws;
    if (info_->draws_without_one) {
      draws.emplace(call.gpu());
    }
    const c10::DispatchKeySet cpu(c10::DispatchKey::CPU);
    if (host_ != nullptr) {
      host_->callBoxed(op, cpu, stack);
    } else {
      op.redispatchBoxed(cpu, stack);
    }
  } else if (const std::shared_ptr<GpuTimeline> timeline = gpu_timeline()) {
    run_timed(op, call.gpu(), timeline.get(), stack);
  } else {
    call_shape_function(op, info_->num_arguments, stack);
  }
  call.take_back(stack);
  if (inner != nullptr) {
    pass_through(*inner, pieces, call.gpu());
  }
}

void GpuKernel::run_timed(const c10::OperatorHandle& op, c10::DeviceIndex gpu,
                          GpuTimeline* timeline, torch::jit::Stack* stack) {
  const c10::Stream stream = current_gpu_stream({c10::kCUDA, gpu});
  const OperatorWork work(op, *info_, *stack);
  const std::optional<KernelWork> copy = work.host_copy();
  if (copy) {  // before the host waits for it
    timeline->run(stream, copy, info_->name);
  }
  call_shape_function(op, info_->num_arguments, stack);
  if (const std::optional<KernelWork> fill = work.fill(*stack)) {
    timeline->run(stream, fill, "aten::fill_");
  }
  if (!copy) {
    timeline->run(stream, work.kernel(*stack), info_->name);
  }
}

}  // namespace

void place_gpu_kernels(bool has_bytes) { Kernels::instance().place(has_bytes); }

}  // namespace polyrank
