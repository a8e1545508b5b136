#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <polyrank/api/functional_collectives.h>
#include <polyrank/collective/reduce_op.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <functional>
#include <string>
#include <utility>

namespace polyrank::functional {

namespace {

using ToGradient = std::function<at::Tensor(const at::Tensor&)>;

// The gradient of a collective is a collective.
class CollectiveBackward final : public torch::autograd::Node {
 public:
  CollectiveBackward(torch::autograd::edge_list inputs, ToGradient to_gradient)
      : Node(std::move(inputs)), to_gradient_(std::move(to_gradient)) {}

 protected:
  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override {
    const at::Tensor grad = std::move(grads).front();
    return {grad.defined() ? to_gradient_(grad) : at::Tensor()};
  }

 private:
  ToGradient to_gradient_;
};

template <class... Arguments>
c10::IValue call(const char* op_name, Arguments&&... arguments) {
  // Without Python PyTorch has no formulas for these operators, and would warn of that.
  const at::NoGradGuard no_grad;
  torch::jit::Stack stack{c10::IValue(std::forward<Arguments>(arguments))...};
  c10::Dispatcher::singleton().findSchemaOrThrow(op_name, "").callBoxed(stack);
  return std::move(stack.front());
}

// The result of a collective on `input`, to which gradients flow back through `to_gradient`.
at::Tensor differentiable(const at::Tensor& input, const c10::IValue& result,
                          ToGradient to_gradient) {
  const at::Tensor& output = result.toTensor();
  if (torch::autograd::compute_requires_grad(input)) {
    torch::autograd::set_history(
        output, c10::make_intrusive<CollectiveBackward>(torch::autograd::collect_next_edges(input),
                                                        std::move(to_gradient)));
  }
  return output;
}

std::string name_of(const c10d::ReduceOp& op) {
  return std::string(to_string(static_cast<ReduceOp>(op.op_)));
}

std::string name_of(const ProcessGroup& group) { return group_or_world(group)->getGroupName(); }

void check_has_gradient(const c10d::ReduceOp& op, const char* function) {
  if (static_cast<ReduceOp>(op.op_) != ReduceOp::kSum) {
    throw UnsupportedOpError(str_cat("functional::", function, " with ", name_of(op),
                                     " has no gradient; use SUM, and divide or scale outside."));
  }
}

}  // namespace

at::Tensor all_reduce(const at::Tensor& input, const ReduceOptions& options) {
  return differentiable(
      input,
      call("_c10d_functional::all_reduce", input, name_of(options.op), name_of(options.group)),
      [options](const at::Tensor& grad) {
        check_has_gradient(options.op, "all_reduce");
        return functional::all_reduce(grad, options);
      });
}

at::Tensor broadcast(const at::Tensor& input, std::int64_t root, const ProcessGroup& group) {
  return call("_c10d_functional::broadcast", input, root, name_of(group)).toTensor();
}

at::Tensor all_gather_into_tensor(const at::Tensor& input, const ProcessGroup& group) {
  return differentiable(input,
                        call("_c10d_functional::all_gather_into_tensor", input,
                             get_world_size(group), name_of(group)),
                        [group](const at::Tensor& grad) {
                          return functional::reduce_scatter_tensor(grad, {.group = group});
                        });
}

at::Tensor reduce_scatter_tensor(const at::Tensor& input, const ReduceOptions& options) {
  return differentiable(input,
                        call("_c10d_functional::reduce_scatter_tensor", input, name_of(options.op),
                             get_world_size(options.group), name_of(options.group)),
                        [options](const at::Tensor& grad) {
                          check_has_gradient(options.op, "reduce_scatter_tensor");
                          return functional::all_gather_into_tensor(grad, options.group);
                        });
}

at::Tensor all_to_all_single(const at::Tensor& input, const AllToAllOptions& options) {
  const AllToAllOptions back = {.output_split_sizes = options.input_split_sizes,
                                .input_split_sizes = options.output_split_sizes,
                                .group = options.group};
  return differentiable(
      input,
      call("_c10d_functional::all_to_all_single", input,
           c10::SymIntArrayRef(options.output_split_sizes),
           c10::SymIntArrayRef(options.input_split_sizes), name_of(options.group)),
      [back](const at::Tensor& grad) { return functional::all_to_all_single(grad, back); });
}

at::Tensor shard_dim_alltoall(const at::Tensor& input, std::int64_t gather_dim,
                              std::int64_t shard_dim, const ProcessGroup& group) {
  return call("_dtensor::shard_dim_alltoall", input, gather_dim, shard_dim, name_of(group))
      .toTensor();
}

Tensors all_reduce_coalesced(Tensors inputs, const ReduceOptions& options) {
  return call("_c10d_functional::all_reduce_coalesced", std::move(inputs), name_of(options.op),
              name_of(options.group))
      .toTensorVector();
}

Tensors all_gather_into_tensor_coalesced(Tensors inputs, const ProcessGroup& group) {
  return call("_c10d_functional::all_gather_into_tensor_coalesced", std::move(inputs),
              get_world_size(group), name_of(group))
      .toTensorVector();
}

Tensors reduce_scatter_tensor_coalesced(Tensors inputs, const ReduceOptions& options) {
  return call("_c10d_functional::reduce_scatter_tensor_coalesced", std::move(inputs),
              name_of(options.op), get_world_size(options.group), name_of(options.group))
      .toTensorVector();
}

}  // namespace polyrank::functional
