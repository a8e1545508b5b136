#include <polyrank/engine/gradient_operators.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

namespace polyrank {

const std::vector<DifferentiatedOp>& differentiated_ops() {
  static const std::vector<DifferentiatedOp> kOps{
      {.name = "prod", .overload = "", .differentiated = {0}},
      {.name = "prod", .overload = "dim_int", .differentiated = {0}},
      {.name = "cumprod", .overload = "", .differentiated = {0}},
      {.name = "masked_fill", .overload = "Tensor", .differentiated = {2}},
      {.name = "ormqr", .overload = "", .differentiated = {0, 1, 2}},
      {.name = "_linalg_det", .overload = "", .differentiated = {0}},
      {.name = "max", .overload = "", .differentiated = {0}},
      {.name = "min", .overload = "", .differentiated = {0}},
      {.name = "median", .overload = "", .differentiated = {0}},
      {.name = "nanmedian", .overload = "", .differentiated = {0}},
  };
  return kOps;
}

std::string Derivative::full_name() const {
  std::string name = order == 0 ? "aten::" : "polyrank::";
  for (std::size_t i = 0; i < order; ++i) {
    name += "gradient_of_";
  }
  return name + original().name;
}

std::string Derivative::name_with_overload() const {
  const std::string overload = original().overload;
  return overload.empty() ? full_name() : full_name() + "." + overload;
}

c10::OperatorHandle Derivative::op() const {
  return c10::Dispatcher::singleton().findSchemaOrThrow(full_name().c_str(), original().overload);
}

GradientArguments GradientArguments::read(c10::ArrayRef<c10::IValue> all) {
  return {.gradients = all.front().toOptionalTensorList(),
          .before = all.slice(1, all.size() - 3).vec(),
          .needed = all[all.size() - 2].toBoolList(),
          .creates_graph = all.back().toBool()};
}

OpArguments GradientArguments::written() const {
  OpArguments all{gradients};
  all.insert(all.end(), before.begin(), before.end());
  all.emplace_back(needed);
  all.emplace_back(creates_graph);
  return all;
}

namespace {

// Calls `visit` with each tensor among the arguments, which it may exchange.
template <class Visit>
void for_each_tensor(OpArguments& arguments, const Visit& visit) {
  for (c10::IValue& argument : arguments) {
    if (argument.isTensor() && argument.toTensor().defined()) {
      argument = visit(argument.toTensor());
    } else if (argument.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> exchanged;
      for (const std::optional<at::Tensor>& tensor : argument.toOptionalTensorVector()) {
        exchanged.push_back(tensor ? std::optional(visit(*tensor)) : std::nullopt);
      }
      argument = exchanged;
    }
  }
}

}  // namespace

std::vector<at::Tensor> tensors_of(OpArguments arguments) {
  std::vector<at::Tensor> found;
  for_each_tensor(arguments, [&](const at::Tensor& tensor) {
    found.push_back(tensor);
    return tensor;
  });
  return found;
}

OpArguments with_tensors(OpArguments arguments, const std::vector<at::Tensor>& tensors) {
  auto next = tensors.begin();
  for_each_tensor(arguments, [&](const at::Tensor&) { return *next++; });
  return arguments;
}

std::vector<at::Tensor> results_of(const torch::jit::Stack& stack) {
  if (stack[0].isTensorList()) {
    return stack[0].toTensorVector();
  }
  std::vector<at::Tensor> results;
  std::ranges::transform(stack, std::back_inserter(results),
                         [](const c10::IValue& value) { return value.toTensor(); });
  return results;
}

namespace {

std::vector<at::Tensor> compute(const Derivative& derivative, OpArguments arguments) {
  if (derivative.order > 0) {
    const auto of_gradient = GradientArguments::read(arguments);
    return differentiate(derivative, of_gradient, /*creates_graph=*/true);
  }
  derivative.op().callBoxed(&arguments);
  return results_of(arguments);
}

}  // namespace

std::vector<at::Tensor> differentiate(const Derivative& derivative,
                                      const GradientArguments& arguments, bool creates_graph) {
  std::vector<at::Tensor> inputs = tensors_of(arguments.before);
  std::vector<at::Tensor> wanted;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!arguments.needed[i]) {
      continue;
    }
    if (!inputs[i].requires_grad()) {
      inputs[i] = inputs[i].detach().requires_grad_();
    }
    wanted.push_back(inputs[i]);
  }
  const std::vector<at::Tensor> results =
      compute(derivative.before(), with_tensors(arguments.before, inputs));
  std::vector<at::Tensor> roots;
  std::vector<at::Tensor> gradients;
  for (std::size_t i = 0; i < arguments.gradients.size(); ++i) {
    const std::optional<at::Tensor> gradient = arguments.gradients[i];
    if (gradient && results[i].defined() && results[i].requires_grad()) {
      roots.push_back(results[i]);
      gradients.push_back(*gradient);
    }
  }
  if (roots.empty()) {
    return std::vector<at::Tensor>(wanted.size());
  }
  return torch::autograd::grad(roots, wanted, gradients, creates_graph, creates_graph,
                               /*allow_unused=*/true);
}

namespace {

c10::FunctionSchema schema_of_gradient(const Derivative& derivative) {
  const std::string order = std::to_string(derivative.order);
  std::vector<c10::Argument> arguments;
  arguments.emplace_back("gradients_" + order,
                         c10::ListType::create(c10::OptionalType::ofTensor()));
  for (const c10::Argument& argument : derivative.before().op().schema().arguments()) {
    arguments.emplace_back(argument.name(), argument.type(), argument.real_type(), argument.N());
  }
  arguments.emplace_back("needed_" + order, c10::ListType::ofBools());
  arguments.emplace_back("creates_graph_" + order, c10::BoolType::get());
  return {
      derivative.full_name(),
      derivative.original().overload,
      std::move(arguments),
      {c10::Argument("", c10::ListType::ofTensors()), c10::Argument("", c10::ListType::ofInts())}};
}

std::int64_t what_it_is(const at::Tensor& gradient) {
  if (!gradient.defined()) {
    return kNothing;
  }
  return gradient.requires_grad() ? kDifferentiable : kConstant;
}

// The operator `polyrank::gradient_of_…`.
class GradientKernel final : public c10::OperatorKernel {
 public:
  explicit GradientKernel(Derivative derivative) : derivative_(derivative) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet /*keys*/,
                  torch::jit::Stack* stack) {
    const std::size_t num_arguments = op.schema().arguments().size();
    const auto arguments = GradientArguments::read(torch::jit::last(*stack, num_arguments));
    const c10::impl::LocalDispatchKeySet here = c10::impl::tls_local_dispatch_key_set();
    const c10::impl::ForceDispatchKeyGuard with_autograd(
        here.included_, here.excluded_ - c10::autograd_dispatch_keyset_with_ADInplaceOrView);
    const at::AutoGradMode on(true);
    c10::List<at::Tensor> gradients;
    c10::List<std::int64_t> found;
    for (const at::Tensor& gradient :
         differentiate(derivative_, arguments, arguments.creates_graph)) {
      gradients.push_back(gradient.defined() ? gradient.detach() : at::zeros({}));
      found.push_back(what_it_is(gradient));
    }
    torch::jit::drop(*stack, num_arguments);
    stack->emplace_back(std::move(gradients));
    stack->emplace_back(std::move(found));
  }

 private:
  Derivative derivative_;
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(polyrank, library) {
  for (std::size_t order = 1; order <= kMaxDerivative; ++order) {
    for (std::size_t row = 0; row < differentiated_ops().size(); ++row) {
      const Derivative derivative{.row = row, .order = order};
      library.def(schema_of_gradient(derivative));
      library.impl(
          derivative.name_with_overload().c_str(), c10::DispatchKey::CompositeExplicitAutograd,
          torch::CppFunction::makeFromBoxedKernel(
              c10::BoxedKernel::makeFromFunctor(std::make_unique<GradientKernel>(derivative))));
    }
  }
}

}  // namespace polyrank
