// Gradients of `prod` and `cumprod` as a rank that runs alone has them. PyTorch's formulas look for
// zeros, and where a tensor is a subclass, or in a dispatch mode, they take another way, whose last
// bits differ.
//
// So these operators have a kernel at the key that every LocalTensor, and every tensor in a mode,
// meets first: autograd takes them whole, and backward is an operator of our own, which is run once
// per cohort and asks PyTorch for the gradient of plain tensors. What is to be differentiated again
// (`create_graph=True`) keeps PyTorch's formula.
// Source: prod_backward and cumprod_backward, torch/csrc/autograd/FunctionsManual.cpp.

#include <ATen/Functions.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <polyrank/engine/first_key.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <memory>
#include <optional>
#include <utility>

namespace polyrank {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Which product: over all elements, along a dimension, or cumulative along one.
struct Product {
  std::optional<std::int64_t> dim;
  bool keepdim = false;
  bool is_cumulative = false;
  std::optional<at::ScalarType> dtype;

  at::Tensor of(const at::Tensor& self) const {
    if (is_cumulative) {
      return at::cumprod(self, dim.value(), dtype);  // NOLINT(*-unchecked-optional-access)
    }
    return dim ? at::prod(self, *dim, keepdim, dtype) : at::prod(self, dtype);
  }
};

thread_local bool takes_pytorchs_formula = false;

class PyTorchsFormula {
 public:
  PyTorchsFormula() : before_(std::exchange(takes_pytorchs_formula, true)) {}
  ~PyTorchsFormula() { takes_pytorchs_formula = before_; }
  PyTorchsFormula(const PyTorchsFormula&) = delete;
  PyTorchsFormula& operator=(const PyTorchsFormula&) = delete;

 private:
  bool before_;
};

at::Tensor gradient(const at::Tensor& grad, const at::Tensor& self, std::optional<std::int64_t> dim,
                    bool keepdim, bool is_cumulative, std::optional<at::ScalarType> dtype) {
  const c10::impl::LocalDispatchKeySet here = c10::impl::tls_local_dispatch_key_set();
  const c10::impl::ForceDispatchKeyGuard with_autograd(
      here.included_, here.excluded_ - c10::autograd_dispatch_keyset_with_ADInplaceOrView);
  const at::AutoGradMode on(true);
  const at::Tensor own = self.detach().requires_grad_();
  const at::Tensor result = Product{dim, keepdim, is_cumulative, dtype}.of(own);
  return torch::autograd::grad({result}, {own}, {grad})[0].detach();
}

struct ProductAlone : torch::autograd::Function<ProductAlone> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& self,
                            const Product& product) {
    context->save_for_backward({self});
    context->saved_data["dim"] = product.dim;
    context->saved_data["keepdim"] = product.keepdim;
    context->saved_data["is_cumulative"] = product.is_cumulative;
    context->saved_data["dtype"] = product.dtype;
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    return product.of(self);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    auto& data = context->saved_data;
    const Product product{.dim = data["dim"].toOptional<std::int64_t>(),
                          .keepdim = data["keepdim"].toBool(),
                          .is_cumulative = data["is_cumulative"].toBool(),
                          .dtype = data["dtype"].toOptional<at::ScalarType>()};
    const at::Tensor self = context->get_saved_variables()[0];
    if (at::GradMode::is_enabled()) {
      const PyTorchsFormula formula;
      return {torch::autograd::grad({product.of(self)}, {self}, {gradients[0]},
                                    /*retain_graph=*/true, /*create_graph=*/true)[0],
              at::Tensor()};
    }
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("polyrank::product_gradient", "")
                               .typed<decltype(gradient)>();
    return {op.call(gradients[0], self, product.dim, product.keepdim, product.is_cumulative,
                    product.dtype),
            at::Tensor()};
  }
};

// Source: at::native::_may_require_fw_or_bw_grad.
bool takes_gradients_backward(const at::Tensor& self) {
  const c10::DispatchKeySet wrapped({c10::DispatchKey::FuncTorchGradWrapper,
                                     c10::DispatchKey::FuncTorchBatched,
                                     c10::DispatchKey::Functionalize});
  return !takes_pytorchs_formula && at::GradMode::is_enabled() && self.requires_grad() &&
         !self._fw_grad(0).defined() && (self.key_set() & wrapped).empty();
}

class ProductKernel final : public c10::OperatorKernel {
 public:
  using Read = Product (*)(c10::ArrayRef<c10::IValue> arguments);
  explicit ProductKernel(Read read) : read_(read) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    const std::size_t num_arguments = op.schema().arguments().size();
    const at::Tensor self = torch::jit::peek(*stack, 0, num_arguments).toTensor();
    if (!takes_gradients_backward(self)) {
      call_composed(op, keys, stack);
      return;
    }
    const Product product = read_(torch::jit::last(*stack, num_arguments));
    torch::jit::drop(*stack, num_arguments);
    stack->emplace_back(ProductAlone::apply(self, product));
  }

 private:
  Read read_;
};

torch::CppFunction kernel(ProductKernel::Read read) {
  return first_key_kernel<ProductKernel>(read);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(polyrank, library) {
  library.def(
      "product_gradient(Tensor grad, Tensor self, int? dim, bool keepdim, bool is_cumulative, "
      "ScalarType? dtype) -> Tensor");
}

TORCH_LIBRARY_IMPL(polyrank, CompositeExplicitAutograd, library) {
  library.impl("product_gradient", &gradient);
}

TORCH_LIBRARY_IMPL(aten, PythonTLSSnapshot, library) {
  library.impl("prod", kernel([](c10::ArrayRef<c10::IValue> arguments) {
                 return Product{.dim = std::nullopt,
                                .dtype = arguments[1].toOptional<at::ScalarType>()};
               }));
  library.impl("prod.dim_int", kernel([](c10::ArrayRef<c10::IValue> arguments) {
                 return Product{.dim = arguments[1].toInt(),
                                .keepdim = arguments[2].toBool(),
                                .dtype = arguments[3].toOptional<at::ScalarType>()};
               }));
  library.impl("cumprod", kernel([](c10::ArrayRef<c10::IValue> arguments) {
                 return Product{.dim = arguments[1].toInt(),
                                .is_cumulative = true,
                                .dtype = arguments[2].toOptional<at::ScalarType>()};
               }));
}

}  // namespace polyrank
