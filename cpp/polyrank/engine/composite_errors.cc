#include <c10/util/Exception.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/answers_for_all.h>
#include <polyrank/engine/composite_errors.h>
#include <polyrank/engine/first_key.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor_impl.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

namespace polyrank {

namespace {

bool differs(const at::Tensor& tensor) {
  const LocalTensorImpl* impl = tensor.defined() ? LocalTensorImpl::from(tensor) : nullptr;
  return impl != nullptr && !impl->has_uniform_geometry();
}

// Whether sizes of, or in, an argument differ between ranks.
bool has_differing_sizes(const c10::IValue& argument) {
  if (argument.isTensor()) {
    return differs(argument.toTensor());
  }
  if (argument.isSymInt()) {
    return as_local_int(argument.toSymInt()) != nullptr;
  }
  return argument.isList() && std::ranges::any_of(argument.toListRef(), has_differing_sizes);
}

// Whether a kernel wanted numbers where sizes are of all ranks: what PyTorch says of a
// SymIntArrayRef.
bool wants_plain_sizes(const c10::Error& error) {
  return std::string_view(error.what_without_backtrace()).find("only concrete integers") !=
         std::string_view::npos;
}

class CompositeKernel final : public c10::OperatorKernel {
 public:
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    const auto arguments = torch::jit::last(*stack, op.schema().arguments().size());
    if (std::ranges::none_of(arguments, has_differing_sizes)) {
      call_composed(op, keys, stack);
      return;
    }
    torch::jit::Stack again(arguments.begin(), arguments.end());
    const std::uint64_t answers = answers_for_all();
    try {
      call_composed(op, keys, stack);
    } catch (const c10::Error& error) {
      if (wants_plain_sizes(error)) {
        raise(DivergenceError(str_cat(
            op.operator_name().name, " takes one size for all ranks, and was given sizes that ",
            "differ between ranks. Run the program with a process or a thread a rank ",
            "(`polyrank run --world processes`).")));
      }
      if (answers_for_all() != answers) {
        explain(op, keys, error, &again);
      }
      throw;
    }
  }

 private:
  // Throws: what the cohorts raise
  static void explain(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                      const c10::Error& error, torch::jit::Stack* arguments) {
    call_whole(op, keys, arguments);
    raise(DivergenceError(str_cat(op.operator_name().name,
                                  " raises an error for sizes that differ between ranks, and none ",
                                  "for the sizes of any one rank: ", error.what_without_backtrace(),
                                  ". Run the program with a process or a thread a rank (`polyrank "
                                  "run --world processes`).")));
  }
};

}  // namespace

bool is_composite(const c10::OperatorHandle& op) {
  return op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd) &&
         !op.hasKernelForDispatchKey(kFirstKey);
}

c10::KernelFunction composite_kernel() {
  return c10::KernelFunction::makeFromBoxedFunctor(std::make_unique<CompositeKernel>());
}

}  // namespace polyrank
