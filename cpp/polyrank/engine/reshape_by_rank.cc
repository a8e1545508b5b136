// `contiguous` and `reshape` are views or copies, as strides allow. PyTorch decides that above our
// kernel, once for the whole LocalTensor. Where ranks' strides differ, the answer may too: then
// each rank must get its own.
//
// So these two operators have a kernel at the key that every LocalTensor meets first, before
// autograd. It changes nothing but the mixed case, which it hands to operators of our own: those
// are run once per cohort like any other, and results that alias an operand on some ranks only are
// known to the engine. Autograd takes the result for a copy.

#include <ATen/Functions.h>
#include <ATen/InferSize.h>
#include <ATen/TensorUtils.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/reshape.h>
#include <polyrank/engine/first_key.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <memory>
#include <vector>

namespace polyrank {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor call_contiguous_by_rank(const at::Tensor& self, at::MemoryFormat format) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("polyrank::contiguous", "")
                             .typed<at::Tensor(const at::Tensor&, at::MemoryFormat)>();
  return op.call(self, format);
}

at::Tensor call_reshape_by_rank(const at::Tensor& self, c10::SymIntArrayRef shape) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("polyrank::reshape", "")
                             .typed<at::Tensor(const at::Tensor&, c10::SymIntArrayRef)>();
  return op.call(self, shape);
}

struct ContiguousByRank : torch::autograd::Function<ContiguousByRank> {
  static at::Tensor forward(AutogradContext* /*context*/, const at::Tensor& self,
                            at::MemoryFormat format) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    return call_contiguous_by_rank(self, format);
  }
  static variable_list backward(AutogradContext* /*context*/, const variable_list& gradients) {
    return {gradients[0], at::Tensor()};
  }
};

struct ReshapeByRank : torch::autograd::Function<ReshapeByRank> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& self,
                            const std::vector<c10::SymInt>& shape) {
    context->saved_data["sizes"] = self.sym_sizes();
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    return call_reshape_by_rank(self, shape);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto sizes = context->saved_data["sizes"].toSymIntVector();
    return {gradients[0].reshape_symint(sizes), at::Tensor()};
  }
};

// What a reshape comes to on one cohort.
enum class Reshape : std::uint8_t { kView, kCopy, kError };

Reshape reshape_to(const at::Tensor& tensor, const std::vector<std::int64_t>& shape) {
  try {
    const auto sizes = at::infer_size_dv(shape, tensor.numel());
    const bool is_view =
        at::detail::computeStride(tensor.sizes(), tensor.strides(), sizes).has_value();
    return is_view ? Reshape::kView : Reshape::kCopy;
  } catch (const c10::Error&) {
    return Reshape::kError;
  }
}

// `shape` as the ranks of a cohort with this lowest rank have it.
std::vector<std::int64_t> shape_on_rank(const std::vector<c10::SymInt>& shape, std::int64_t rank) {
  std::vector<std::int64_t> sizes;
  sizes.reserve(shape.size());
  for (const c10::SymInt& size : shape) {
    const LocalIntNode* differing = as_local_int(size);
    sizes.push_back(differing != nullptr ? differing->value(differing->partition().cohort_of(rank))
                                         : size.guard_int(__FILE__, __LINE__));
  }
  return sizes;
}

// Whether `answer` differs between cohorts of the tensor.
template <class Question>
bool is_mixed(const at::Tensor& self, Question answer) {
  const LocalTensorImpl* impl = self.defined() ? LocalTensorImpl::from(self) : nullptr;
  if (impl == nullptr || impl->has_uniform_geometry() || impl->has_python_cohorts()) {
    return false;
  }
  const CohortTensors& cohorts = impl->cohort_tensors();
  const auto on_cohort = [&](std::size_t i) {
    return answer(cohorts.tensors[i], cohorts.partition.lowest_rank(static_cast<std::int32_t>(i)));
  };
  for (std::size_t i = 1; i < cohorts.tensors.size(); ++i) {
    if (on_cohort(i) != on_cohort(0)) {
      return true;
    }
  }
  return false;
}

// Runs one of the two operators by rank if its answer is mixed; else what PyTorch has at the key.
class ByRankKernel : public c10::OperatorKernel {
 public:
  using Mixed = bool (*)(torch::jit::Stack* stack);
  explicit ByRankKernel(Mixed run_if_mixed) : run_if_mixed_(run_if_mixed) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    if (!run_if_mixed_(stack)) {
      call_composed(op, keys, stack);
    }
  }

 private:
  Mixed run_if_mixed_;
};

bool contiguous_if_mixed(torch::jit::Stack* stack) {
  const at::Tensor self = torch::jit::peek(*stack, 0, 2).toTensor();
  const at::MemoryFormat format = torch::jit::peek(*stack, 1, 2).toMemoryFormat();
  if (!is_mixed(self, [&](const at::Tensor& tensor, std::int64_t) {
        return tensor.is_contiguous(format);
      })) {
    return false;
  }
  torch::jit::drop(*stack, 2);
  stack->emplace_back(ContiguousByRank::apply(self, format));
  return true;
}

bool reshape_if_mixed(torch::jit::Stack* stack) {
  const at::Tensor self = torch::jit::peek(*stack, 0, 2).toTensor();
  if (!self.defined() || LocalTensorImpl::from(self) == nullptr) {
    return false;
  }
  const std::vector<c10::SymInt> shape = torch::jit::peek(*stack, 1, 2).toSymIntVector();
  if (!is_mixed(self, [&](const at::Tensor& tensor, std::int64_t rank) {
        return reshape_to(tensor, shape_on_rank(shape, rank));
      })) {
    return false;
  }
  torch::jit::drop(*stack, 2);
  stack->emplace_back(ReshapeByRank::apply(self, shape));
  return true;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(polyrank, library) {
  library.def("contiguous(Tensor self, MemoryFormat memory_format) -> Tensor");
  library.def("reshape(Tensor self, SymInt[] shape) -> Tensor");
}

TORCH_LIBRARY_IMPL(polyrank, CompositeExplicitAutograd, library) {
  library.impl("contiguous", [](const at::Tensor& self, at::MemoryFormat format) {
    return self.contiguous(format);
  });
  library.impl("reshape", [](const at::Tensor& self, c10::SymIntArrayRef shape) {
    return at::reshape_symint(self, shape);
  });
}

TORCH_LIBRARY_IMPL(aten, PythonTLSSnapshot, library) {
  library.impl("contiguous", first_key_kernel<ByRankKernel>(&contiguous_if_mixed));
  library.impl("reshape", first_key_kernel<ByRankKernel>(&reshape_if_mixed));
}

}  // namespace polyrank
