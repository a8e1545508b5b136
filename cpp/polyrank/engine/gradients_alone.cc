// Gradients as a rank that runs alone has them, of operators whose formulas in PyTorch ask whether
// a tensor is a subclass, or a dispatch mode is on, and then add up in another way: last bits
// differ.
//
// NOTE [Gradients alone]
// These operators have a kernel at the first key: autograd takes them whole, and their backward is
// an operator of our own, `polyrank::gradient_of_prod` and the like, which the engine runs once per
// cohort. It runs the operator again, on plain tensors, and asks PyTorch's autograd for the
// gradients. That operator has a gradient in turn (`create_graph=True`), made the same way.
// Source: isTensorSubclassLike() in torch/csrc/autograd/FunctionsManual.cpp.

#include <polyrank/engine/first_key.h>
#include <polyrank/engine/gradient_operators.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace polyrank {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Whether PyTorch's own formula is taken: in what is vectorized it is what a rank alone takes, too.
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

bool is_wrapped(const at::Tensor& tensor) {
  const c10::DispatchKeySet wrappers({c10::DispatchKey::FuncTorchGradWrapper,
                                      c10::DispatchKey::FuncTorchBatched,
                                      c10::DispatchKey::Functionalize});
  return !(tensor.key_set() & wrappers).empty();
}

struct Alone : torch::autograd::Function<Alone> {
  static variable_list forward(AutogradContext* context, at::TensorList inputs,
                               const Derivative& derivative, const OpArguments& arguments,
                               c10::List<std::int64_t>* found) {
    context->save_for_backward(inputs.vec());
    context->set_materialize_grads(false);
    context->saved_data["row"] = static_cast<std::int64_t>(derivative.row);
    context->saved_data["order"] = static_cast<std::int64_t>(derivative.order);
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      context->saved_data[std::to_string(i)] = without_tensors(arguments[i]);
    }
    torch::jit::Stack stack = arguments;
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    derivative.op().callBoxed(&stack);
    variable_list results = results_of(stack);
    variable_list constants;
    if (derivative.order == 0) {
      constants.assign(results.begin() + 1, results.end());
    } else {
      *found = stack[1].toIntList();
      for (std::size_t i = 0; i < results.size(); ++i) {
        if ((*found)[i] != kDifferentiable) {
          constants.push_back(results[i]);
        }
      }
    }
    context->mark_non_differentiable(constants);
    return results;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    auto& data = context->saved_data;
    const Derivative derivative{.row = static_cast<std::size_t>(data["row"].toInt()),
                                .order = static_cast<std::size_t>(data["order"].toInt())};
    const variable_list inputs = context->get_saved_variables();
    const OpArguments arguments = saved_arguments(context, derivative, inputs);
    variable_list found(inputs.size() + 3);  // one for each argument of forward()
    c10::List<bool> needed;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      needed.push_back(context->needs_input_grad(i));
    }
    const variable_list own = gradients_of(derivative, arguments, gradients, needed);
    auto next = own.begin();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (needed[i]) {
        found[i] = *next++;
      }
    }
    return found;
  }

 private:
  // A tensor's place is kept, and what it holds saved by autograd.
  static c10::IValue without_tensors(const c10::IValue& argument) {
    if (argument.isTensor()) {
      return argument.toTensor().defined() ? c10::IValue(c10::ivalue::Tuple::create(OpArguments()))
                                           : argument;
    }
    if (!argument.isOptionalTensorList()) {
      return argument;
    }
    c10::List<bool> are_defined;
    for (const std::optional<at::Tensor>& tensor : argument.toOptionalTensorVector()) {
      are_defined.push_back(tensor.has_value());
    }
    return c10::ivalue::Tuple::create({are_defined});
  }

  static OpArguments saved_arguments(AutogradContext* context, const Derivative& derivative,
                                     const variable_list& inputs) {
    OpArguments arguments;
    auto next = inputs.begin();
    for (std::size_t i = 0; i < derivative.op().schema().arguments().size(); ++i) {
      const c10::IValue& saved = context->saved_data[std::to_string(i)];
      if (saved.isTuple() && saved.toTupleRef().elements().empty()) {
        arguments.emplace_back(*next++);
      } else if (saved.isTuple()) {
        c10::List<std::optional<at::Tensor>> tensors;
        for (const bool is_defined : saved.toTupleRef().elements()[0].toBoolList()) {
          tensors.push_back(is_defined ? std::optional(*next++) : std::nullopt);
        }
        arguments.emplace_back(tensors);
      } else {
        arguments.push_back(saved);
      }
    }
    return arguments;
  }

  static variable_list gradients_of(const Derivative& derivative, const OpArguments& arguments,
                                    const variable_list& gradients, const c10::List<bool>& needed) {
    c10::List<std::optional<at::Tensor>> defined;
    bool any_wrapped = false;
    for (const at::Tensor& gradient : gradients) {
      any_wrapped = any_wrapped || (gradient.defined() && is_wrapped(gradient));
      defined.push_back(gradient.defined() ? std::optional(gradient) : std::nullopt);
    }
    const GradientArguments of_next{.gradients = defined,
                                    .before = arguments,
                                    .needed = needed,
                                    .creates_graph = at::GradMode::is_enabled()};
    if (any_wrapped) {
      const PyTorchsFormula formula;
      const at::AutoGradMode on(true);
      return differentiate(derivative.next(), of_next, of_next.creates_graph);
    }
    TORCH_CHECK_NOT_IMPLEMENTED(derivative.order < kMaxDerivative, derivative.original().name,
                                " is differentiated at most ", kMaxDerivative,
                                " times in lockstep");
    torch::jit::Stack stack = of_next.written();
    derivative.next().op().callBoxed(&stack);
    variable_list results = results_of(stack);
    const c10::List<std::int64_t> found = stack[1].toIntList();
    for (std::size_t i = 0; i < results.size(); ++i) {
      results[i] = found[i] == kNothing ? at::Tensor() : results[i];
    }
    return results;
  }
};

class FirstKernel final : public c10::OperatorKernel {
 public:
  explicit FirstKernel(Derivative derivative) : derivative_(derivative) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    const std::size_t num_arguments = op.schema().arguments().size();
    const auto given = torch::jit::last(*stack, num_arguments);
    if (!may_need_gradients(given)) {  // most calls, which pay for no more than this
      call_composed(op, keys, stack);
      return;
    }
    const OpArguments arguments = given.vec();
    const variable_list inputs = tensors_of(arguments);
    if (!takes_gradients_alone(arguments, inputs)) {
      call_composed(op, keys, stack);
      return;
    }
    torch::jit::drop(*stack, num_arguments);
    c10::List<std::int64_t> found;
    variable_list results = Alone::apply(at::TensorList(inputs), derivative_, arguments, &found);
    if (derivative_.order > 0) {
      stack->emplace_back(std::move(results));
      stack->emplace_back(std::move(found));
    } else {
      stack->insert(stack->end(), results.begin(), results.end());
    }
  }

 private:
  bool may_need_gradients(c10::ArrayRef<c10::IValue> arguments) const {
    if (takes_pytorchs_formula || !at::GradMode::is_enabled()) {
      return false;
    }
    return derivative_.order > 0 ||
           std::ranges::any_of(derivative_.original().differentiated, [&](std::size_t i) {
             return arguments[i].toTensor().requires_grad();
           });
  }

  bool takes_gradients_alone(const OpArguments& arguments, const variable_list& inputs) const {
    // Source: at::native::_may_require_fw_or_bw_grad.
    const auto is_apart = [](const at::Tensor& tensor) {
      return is_wrapped(tensor) || tensor._fw_grad(0).defined();
    };
    const auto requires_grad = [](const at::Tensor& tensor) { return tensor.requires_grad(); };
    return is_for_ranks(arguments) && !std::ranges::any_of(inputs, is_apart) &&
           std::ranges::any_of(inputs, requires_grad);
  }

  Derivative derivative_;
};

void put_kernels(torch::Library& library, std::size_t order) {
  for (std::size_t row = 0; row < differentiated_ops().size(); ++row) {
    const Derivative derivative{.row = row, .order = order};
    library.impl(derivative.name_with_overload().c_str(),
                 first_key_kernel<FirstKernel>(derivative));
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, PythonTLSSnapshot, library) { put_kernels(library, 0); }

TORCH_LIBRARY_IMPL(polyrank, PythonTLSSnapshot, library) {
  for (std::size_t order = 1; order <= kMaxDerivative; ++order) {
    put_kernels(library, order);
  }
}

}  // namespace polyrank
