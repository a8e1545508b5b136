#include <ATen/Functions.h>
#include <c10/core/ScalarType.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/virtual_gpu/data_sizes.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/known_shapes.h>
#include <polyrank/virtual_gpu/reads.h>
#include <polyrank/virtual_gpu/shape_call.h>
#include <polyrank/virtual_gpu/streams.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace polyrank {

namespace {

using c10::DispatchKey;

using Run = void (*)(const c10::OperatorHandle& op, std::size_t num_arguments,
                     torch::jit::Stack* stack);

void redispatch(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  op.redispatchBoxed(c10::DispatchKeySet(DispatchKey::Meta), stack);
}

// The host waits for what it reads.
void wait_for_data() { synchronize_gpu_stream(current_gpu_stream({c10::kCUDA, current_gpu()})); }

std::string text_of(const c10::Scalar& value) {
  if (value.isBoolean()) {
    return value.toBool() ? "True" : "False";
  }
  return value.isIntegral(/*includeBool=*/false) ? str_cat(value.toLong())
                                                 : str_cat(value.toDouble(), ".0");
}

// `Tensor.item()`, and with it float(), int(), bool(), tolist() and branches.
void read_number(const c10::OperatorHandle& /*op*/, std::size_t num_arguments,
                 torch::jit::Stack* stack) {
  const c10::Scalar value =
      stand_in(torch::jit::peek(*stack, 0, num_arguments).toTensor().scalar_type());
  note_read("item()", text_of(value));
  wait_for_data();
  torch::jit::drop(*stack, num_arguments);
  torch::jit::push(*stack, value);
}

void read_equality(const c10::OperatorHandle& op, std::size_t num_arguments,
                   torch::jit::Stack* stack) {
  note_read(op.schema().name() == "aten::equal" ? "equal()" : "allclose()", "False");
  wait_for_data();
  torch::jit::drop(*stack, num_arguments);
  torch::jit::push(*stack, false);
}

void fill_with_stand_in(const at::Tensor& on_cpu, bool is_non_blocking) {
  const c10::Scalar value = stand_in(on_cpu.scalar_type());
  note_read("a copy to the CPU", str_cat("all elements are ", text_of(value)));
  on_cpu.fill_(value);
  if (!is_non_blocking) {
    wait_for_data();
  }
}

// The argument of that name, which the operator has.
c10::IValue& argument(const c10::OperatorHandle& op, const char* name, std::size_t num_arguments,
                      torch::jit::Stack* stack) {
  const int at = op.schema().argumentIndexWithName(name).value_or(0);
  return torch::jit::peek(*stack, static_cast<std::size_t>(at), num_arguments);
}

// `copy_(self, src, …)`, where `self` may be the CPU's.
void copy(const c10::OperatorHandle& op, std::size_t num_arguments, torch::jit::Stack* stack) {
  const at::Tensor self = torch::jit::peek(*stack, 0, num_arguments).toTensor();
  if (!self.is_cpu()) {
    redispatch(op, stack);
    return;
  }
  fill_with_stand_in(self, argument(op, "non_blocking", num_arguments, stack).toBool());
  torch::jit::drop(*stack, num_arguments);
  torch::jit::push(*stack, self);
}

// `_foreach_copy_(self, src, …)`, where each of `self` may be the CPU's.
void copy_each(const c10::OperatorHandle& op, std::size_t num_arguments, torch::jit::Stack* stack) {
  const bool is_async = argument(op, "non_blocking", num_arguments, stack).toBool();
  const auto targets = torch::jit::peek(*stack, 0, num_arguments).toTensorVector();
  const auto sources = torch::jit::peek(*stack, 1, num_arguments).toTensorVector();
  TORCH_CHECK(targets.size() == sources.size(), "_foreach_copy_ was given ", targets.size(),
              " tensors to write to, and ", sources.size(), " to copy");
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i].is_cpu() && sources[i].is_meta()) {
      fill_with_stand_in(targets[i], is_async);
    } else {
      targets[i].copy_(sources[i], is_async);
    }
  }
  torch::jit::drop(*stack, num_arguments);
}

// `_to_copy(self, *, dtype, layout, device, …)`, to the CPU or not.
void to_copy(const c10::OperatorHandle& op, std::size_t num_arguments, torch::jit::Stack* stack) {
  c10::IValue& device = argument(op, "device", num_arguments, stack);
  const bool is_to_cpu = device.isDevice() && device.toDevice().is_cpu();
  if (is_to_cpu) {
    device = c10::Device(c10::kMeta);
    // Pinned memory is the CPU's.
    argument(op, "pin_memory", num_arguments, stack) = c10::IValue();
  }
  const bool is_async = argument(op, "non_blocking", num_arguments, stack).toBool();
  redispatch(op, stack);
  if (is_to_cpu) {
    const at::Tensor shape = torch::jit::pop(*stack).toTensor();
    const at::Tensor on_cpu = at::empty_strided(
        shape.sizes(), shape.strides(), shape.options().device(c10::kCPU).pinned_memory(is_async));
    fill_with_stand_in(on_cpu, is_async);
    torch::jit::push(*stack, on_cpu);
  }
}

// `_fused_rms_norm(input, normalized_shape, …)`: a whole result, and a number for each row.
void fused_rms_norm(const c10::OperatorHandle& op, std::size_t num_arguments,
                    torch::jit::Stack* stack) {
  const at::Tensor input = argument(op, "input", num_arguments, stack).toTensor();
  const std::size_t num_dims =
      argument(op, "normalized_shape", num_arguments, stack).toIntVector().size();
  c10::DimVector rows(input.sizes());
  std::fill(rows.end() - static_cast<std::ptrdiff_t>(num_dims), rows.end(), 1);
  const bool is_half = input.scalar_type() == at::kHalf || input.scalar_type() == at::kBFloat16;
  torch::jit::drop(*stack, num_arguments);
  torch::jit::push(*stack, at::empty(input.sizes(), input.options()));
  torch::jit::push(
      *stack, at::empty(rows, input.options().dtype(is_half ? at::kFloat : input.scalar_type())));
}

// Those that are more than a shape function.
const std::unordered_map<std::string_view, Run>& special_calls() {
  static const std::unordered_map<std::string_view, Run> calls{
      {"aten::_local_scalar_dense", &read_number}, {"aten::equal", &read_equality},
      {"aten::allclose", &read_equality},          {"aten::copy_", &copy},
      {"aten::_foreach_copy_", &copy_each},        {"aten::_to_copy", &to_copy},
      {"aten::_fused_rms_norm", &fused_rms_norm},
  };
  return calls;
}

bool is_on_cpu(const at::Tensor& tensor) { return tensor.defined() && tensor.is_cpu(); }

// A shape function writes nothing: what the operator would write to the CPU's memory would be
// missing there.
void check_writes_nothing_of_cpu(const c10::OperatorHandle& op, std::size_t num_arguments,
                                 const torch::jit::Stack& stack) {
  for (std::size_t i = 0; i < num_arguments; ++i) {
    const c10::AliasInfo* alias = op.schema().arguments()[i].alias_info();
    if (alias == nullptr || !alias->isWrite()) {
      continue;
    }
    const c10::IValue& value = torch::jit::peek(stack, i, num_arguments);
    const auto list = value.isTensorList() ? value.toTensorVector() : std::vector<at::Tensor>();
    if ((value.isTensor() && is_on_cpu(value.toTensor())) ||
        std::any_of(list.begin(), list.end(), &is_on_cpu)) {
      throw UnsupportedOpError(
          c10::str(op.operator_name(),
                   " writes to a tensor of the CPU what a virtual GPU without bytes has not. Move "
                   "its operands to the CPU first."));
    }
  }
}

}  // namespace

bool is_whole_on_cuda_alone(const c10::OperatorHandle& op) {
  return op.schema().name() == "aten::_fused_rms_norm";
}

bool has_shape_function(const c10::OperatorHandle& op) {
  const auto has = [&](DispatchKey key) { return op.hasKernelForDispatchKey(key); };
  return has(DispatchKey::Meta) || has(DispatchKey::CompositeExplicitAutograd) ||
         has(DispatchKey::CompositeExplicitAutogradNonFunctional) ||
         special_calls().contains(op.schema().name());
}

void call_shape_function(const c10::OperatorHandle& op, std::size_t num_arguments,
                         torch::jit::Stack* stack) {
  const auto special = special_calls().find(op.schema().name());
  if (special != special_calls().end() && op.schema().overload_name().empty()) {
    special->second(op, num_arguments, stack);
    return;
  }
  if (has_size_of_data(op, num_arguments, *stack)) {
    call_with_largest_size(op, num_arguments, stack);
    return;
  }
  if (!has_shape_function(op)) {
    throw UnsupportedOpError(
        c10::str(op.operator_name(),
                 " has no shape function, by which a virtual GPU without bytes "
                 "could know its results. Register one with "
                 "torch.library.register_fake(\"",
                 op.schema().name(), "\")."));
  }
  check_writes_nothing_of_cpu(op, num_arguments, *stack);
  call_or_remember(op, num_arguments, stack, [&] { redispatch(op, stack); });
}

}  // namespace polyrank
