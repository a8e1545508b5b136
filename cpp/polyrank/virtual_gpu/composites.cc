#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/renorm.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/virtual_gpu/attention.h>
#include <polyrank/virtual_gpu/composites.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/host_call.h>
#include <polyrank/virtual_gpu/registration.h>
#include <polyrank/virtual_gpu/storage.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

// All overloads of these.
constexpr std::array<std::string_view, 16> kAskForDevice{
    "aten::scaled_dot_product_attention",
    "aten::dropout",
    "aten::softmax",
    "aten::log_softmax",
    "aten::rms_norm",
    "aten::ctc_loss",
    "aten::one_hot",
    "aten::renorm",  // its gradient
    "aten::lstm",
    "aten::gru",
    "aten::rnn_tanh",
    "aten::rnn_relu",
    "aten::lstm_cell",
    "aten::gru_cell",
    "aten::rnn_tanh_cell",
    "aten::rnn_relu_cell",
};

// --- crossing over ------------------------------------------------------------------------------

at::Tensor to_host(const at::Tensor& tensor) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("polyrank::_gpu_to_host", "")
                             .typed<at::Tensor(const at::Tensor&)>();
  return op.call(tensor);
}

at::Tensor to_gpu(const at::Tensor& tensor, std::int64_t gpu) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("polyrank::_host_to_gpu", "")
                             .typed<at::Tensor(const at::Tensor&, std::int64_t)>();
  return op.call(tensor, gpu);
}

at::Tensor to_host_kernel(const at::Tensor& tensor) { return host_tensor(tensor); }

at::Tensor to_gpu_kernel(const at::Tensor& tensor, std::int64_t gpu) {
  c10::StorageImpl* host = tensor.storage().unsafeGetStorageImpl();
  return gpu_tensor(tensor,
                    make_gpu_storage(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(host),
                                     static_cast<c10::DeviceIndex>(gpu)));
}

struct ToHost : torch::autograd::Function<ToHost> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& tensor) {
    context->saved_data["gpu"] = static_cast<std::int64_t>(tensor.device().index());
    const at::AutoDispatchBelowADInplaceOrView below;
    return to_host(tensor);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    return {gradients[0].defined() ? to_gpu(gradients[0], context->saved_data["gpu"].toInt())
                                   : at::Tensor()};
  }
};

struct ToGpu : torch::autograd::Function<ToGpu> {
  static at::Tensor forward(torch::autograd::AutogradContext* /*context*/, const at::Tensor& tensor,
                            std::int64_t gpu) {
    const at::AutoDispatchBelowADInplaceOrView below;
    return to_gpu(tensor, gpu);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* /*context*/,
                                                 torch::autograd::variable_list gradients) {
    return {gradients[0].defined() ? to_host(gradients[0]) : at::Tensor(), at::Tensor()};
  }
};

TORCH_LIBRARY_FRAGMENT(polyrank, m) {
  m.def("_gpu_to_host(Tensor tensor) -> Tensor");
  m.def("_host_to_gpu(Tensor tensor, int gpu) -> Tensor");
}

TORCH_LIBRARY_IMPL(polyrank, CUDA, m) { m.impl("_gpu_to_host", &to_host_kernel); }

TORCH_LIBRARY_IMPL(polyrank, CPU, m) { m.impl("_host_to_gpu", &to_gpu_kernel); }

// Both are one memory, so what writes to one is seen by whoever saved the other for backward.
at::Tensor with_version_of(const at::Tensor& original, at::Tensor crossed) {
  if (!original.is_inference() && !crossed.is_inference()) {
    crossed.unsafeGetTensorImpl()->set_version_counter(
        original.unsafeGetTensorImpl()->version_counter());
  }
  return crossed;
}

TORCH_LIBRARY_IMPL(polyrank, AutogradCUDA, m) {
  m.impl("_gpu_to_host",
         [](const at::Tensor& tensor) { return with_version_of(tensor, ToHost::apply(tensor)); });
}

TORCH_LIBRARY_IMPL(polyrank, AutogradCPU, m) {
  m.impl("_host_to_gpu", [](const at::Tensor& tensor, std::int64_t gpu) {
    return with_version_of(tensor, ToGpu::apply(tensor, gpu));
  });
}

// --- the composites -----------------------------------------------------------------------------

// Applies `change` to each defined tensor of a value.
template <typename Change>
void change_tensors(c10::IValue* value, const Change& change) {
  if (value->isTensor()) {
    if (value->toTensor().defined()) {
      *value = change(value->toTensor());
    }
  } else if (value->isTensorList()) {
    c10::List<at::Tensor> changed;
    for (const at::Tensor& tensor : value->toTensorVector()) {
      changed.push_back(change(tensor));
    }
    *value = std::move(changed);
  }
}

// Whether a tensor handles operators itself (DTensor, FakeTensor): it must see the composite's
// parts.
bool is_foreign(const at::Tensor& tensor) {
  return tensor.defined() && tensor.key_set().has(c10::DispatchKey::Python) &&
         LocalTensorImpl::from(tensor) == nullptr;
}

bool has_foreign(const c10::IValue& value) {
  if (value.isTensor()) {
    return is_foreign(value.toTensor());
  }
  const auto tensors = value.isTensorList() ? value.toTensorVector() : std::vector<at::Tensor>();
  return std::any_of(tensors.begin(), tensors.end(), &is_foreign);
}

// Where the tensors of one call are. Lengths, batch sizes and targets may be on the CPU: of these
// operators, what has integers; so may a number (0-dim).
class Devices {
 public:
  void add(const at::Tensor& tensor) {
    if (tensor.is_cuda() && !gpu_) {
      gpu_ = tensor.device();
    } else if (tensor.device() != gpu_ &&
               (tensor.is_cuda() ||
                (tensor.dim() > 0 && !c10::isIntegralType(tensor.scalar_type(), false)))) {
      other_ = tensor.device();
    }
  }
  // Throws: c10::Error if they are on two, one of them a GPU.
  void check(const c10::OperatorHandle& op) const {
    if (gpu_ && other_) {
      refuse_two_devices(op, *gpu_, *other_);
    }
  }

 private:
  std::optional<c10::Device> gpu_;
  std::optional<c10::Device> other_;
};

void check_devices(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments) {
  Devices devices;
  for (const c10::IValue& value : arguments) {
    if (value.isTensor() && value.toTensor().defined()) {
      devices.add(value.toTensor());
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) {
        devices.add(tensor);
      }
    }
  }
  devices.check(op);
}

// Position of the argument that is a probability to drop, or -1.
int drop_argument(const c10::FunctionSchema& schema) {
  for (const char* name : {"p", "dropout", "dropout_p"}) {
    const auto index = schema.argumentIndexWithName(name);
    if (index && schema.arguments()[static_cast<std::size_t>(*index)].type()->kind() ==
                     c10::TypeKind::FloatType) {
      return *index;
    }
  }
  return -1;
}

class CompositeKernel final : public c10::OperatorKernel {
 public:
  explicit CompositeKernel(const c10::FunctionSchema& schema)
      : num_arguments_(schema.arguments().size()),
        num_returns_(schema.returns().size()),
        drop_argument_(drop_argument(schema)),
        is_attention_(schema.name() == "aten::scaled_dot_product_attention") {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet /*keys*/,
                  torch::jit::Stack* stack) const {
    const auto first = stack->end() - static_cast<std::ptrdiff_t>(num_arguments_);
    const bool is_foreign_call = std::any_of(first, stack->end(), &has_foreign);
    if (!is_foreign_call) {
      check_devices(op, torch::jit::last(*stack, num_arguments_));
    }
    const bool may_draw = drop_argument_ >= 0 && (first + drop_argument_)->toDouble() > 0;
    // The host's kernels of attention for GPUs drop nothing; its parts do.
    const bool takes_gpus_kernel =
        is_attention_ && (is_foreign_call ? !may_draw : only_gpus_kernels_are_enabled());
    if (!gpus_have_bytes() || takes_gpus_kernel) {
      call_as_on_cuda(op, stack);
      return;
    }
    if (is_foreign_call) {
      if (!op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd)) {
        throw UnsupportedOpError(
            c10::str(op.operator_name(),
                     " on a virtual GPU takes no tensors that handle operators "
                     "themselves (DTensor); use their local tensors"));
      }
      op.callBoxedForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd, *stack);
      return;
    }
    Crossing crossing;
    std::for_each(first, stack->end(), [&](c10::IValue& value) { crossing.to_host(&value); });
    {
      std::optional<HostDrawsAsGpu> draws;
      if (const auto gpu = crossing.gpu(); may_draw && gpu) {
        draws.emplace(static_cast<c10::DeviceIndex>(*gpu));
      }
      op.callBoxed(stack);
    }
    std::for_each(stack->end() - static_cast<std::ptrdiff_t>(num_returns_), stack->end(),
                  [&](c10::IValue& value) { crossing.to_gpu(&value); });
  }

 private:
  // As sdpa_kernel(EFFICIENT_ATTENTION) has it: of the others the CPU has none.
  static bool only_gpus_kernels_are_enabled() {
    const at::Context& context = at::globalContext();
    return !context.userEnabledFlashSDP() && !context.userEnabledMathSDP();
  }

  void call_as_on_cuda(const c10::OperatorHandle& op, torch::jit::Stack* stack) const {
    if (is_attention_) {
      call_attention(stack);
      return;
    }
    const bool is_implicit =
        op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd);
    // Those that are not have a gradient, which is the same for every device.
    op.callBoxedForDispatchKey(
        is_implicit ? c10::DispatchKey::CompositeImplicitAutograd : c10::DispatchKey::AutogradCPU,
        *stack);
  }

  static void call_attention(torch::jit::Stack* stack) {
    const bool enable_gqa = torch::jit::pop(*stack).toBool();
    const auto scale = torch::jit::pop(*stack).toOptional<double>();
    const bool is_causal = torch::jit::pop(*stack).toBool();
    const double dropout = torch::jit::pop(*stack).toDouble();
    const auto mask = torch::jit::pop(*stack).toOptional<at::Tensor>();
    const at::Tensor value = torch::jit::pop(*stack).toTensor();
    const at::Tensor key = torch::jit::pop(*stack).toTensor();
    const at::Tensor query = torch::jit::pop(*stack).toTensor();
    torch::jit::push(*stack, attention_as_on_cuda(query, key, value, mask, dropout, is_causal,
                                                  scale, enable_gqa));
  }

  // The tensors of one call, there and back.
  class Crossing {
   public:
    void to_host(c10::IValue* value) {
      change_tensors(value, [&](const at::Tensor& tensor) {
        if (!tensor.is_cuda()) {
          return tensor;
        }
        // A tensor that is given twice crosses once: its gradients are added as on the CPU.
        for (const auto& [host, gpu] : crossed_) {
          if (gpu.is_same(tensor)) {
            return host;
          }
        }
        gpu_ = tensor.device().index();
        crossed_.emplace_back(polyrank::to_host(tensor), tensor);
        return crossed_.back().first;
      });
    }
    void to_gpu(c10::IValue* value) const {
      change_tensors(value, [&](const at::Tensor& tensor) {
        for (const auto& [host, gpu] : crossed_) {
          if (host.is_same(tensor)) {
            return gpu;  // dropout that drops nothing, say
          }
        }
        return tensor.is_cpu() && gpu_ ? polyrank::to_gpu(tensor, *gpu_) : tensor;
      });
    }
    std::optional<std::int64_t> gpu() const { return gpu_; }

   private:
    std::vector<std::pair<at::Tensor, at::Tensor>> crossed_;  // on the host, on the GPU
    std::optional<std::int64_t> gpu_;
  };

  std::size_t num_arguments_;
  std::size_t num_returns_;
  int drop_argument_;
  bool is_attention_;
};

bool asks_for_device(const c10::OperatorHandle& op) {
  const std::string& name = op.schema().name();
  return std::find(kAskForDevice.begin(), kAskForDevice.end(), name) != kAskForDevice.end() &&
         op.schema().overload_name().find("out") == std::string::npos;
}

// At the CUDA key, too, stand those that have no kernel of their own below autograd.
std::vector<c10::DispatchKey> keys_of(const c10::OperatorHandle& op) {
  std::vector<c10::DispatchKey> keys{c10::DispatchKey::AutogradCUDA};
  if (op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd)) {
    keys.push_back(c10::DispatchKey::CUDA);
  }
  return keys;
}

// In place an operand keeps its history, so it can't cross.
// NOLINTNEXTLINE(misc-const-correctness): the schema's type of what is written
at::Tensor& renorm_in_place(at::Tensor& self, const at::Scalar& p, std::int64_t dim,
                            const at::Scalar& max_norm) {
  return self.copy_(at::renorm(self.clone(), p, dim, max_norm));
}

std::vector<c10::RegistrationHandleRAII> register_composites() {
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  std::vector<c10::RegistrationHandleRAII> registrations;
  registrations.push_back(
      register_for_gpus({"aten::renorm_", ""},
                        c10::KernelFunction::makeFromUnboxedFunction(TORCH_FN(renorm_in_place)),
                        c10::DispatchKey::AutogradCUDA));
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findSchema(name);
    if (!op || !op->hasSchema() || !asks_for_device(*op)) {
      continue;
    }
    for (const c10::DispatchKey key : keys_of(*op)) {
      registrations.push_back(
          register_for_gpus(name,
                            c10::KernelFunction::makeFromBoxedFunctor(
                                std::make_unique<CompositeKernel>(op->schema())),
                            key));
    }
  }
  return registrations;
}

}  // namespace

void place_gpu_composites() {
  static const auto* registrations =
      new std::vector(register_composites());  // as long as the dispatcher
  static_cast<void>(registrations);
}

}  // namespace polyrank
