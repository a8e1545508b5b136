// `svdvals` and `eigvalsh` compute vectors too where gradients may be asked for, and on a subclass
// of tensors or in a dispatch mode, whether gradients are asked for or not. LAPACK takes another
// algorithm then, and the values differ in the last bits from those of a rank that runs alone.
// `matrix_rank` leaves its `out=` unwritten there.
//
// So where no gradient is asked for, these operators go to our kernel whole: it runs each cohort's
// on plain tensors. `cond`, nuclear norms and their like are built on them. The kernel is at the
// key that every LocalTensor, and every tensor in a mode, meets first.
// Source: at::native::linalg_svdvals and linalg_eigvalsh, BatchLinearAlgebra.cpp.

#include <polyrank/engine/first_key.h>

#include <algorithm>

namespace polyrank {

namespace {

// Source: at::native::_may_require_fw_or_bw_grad.
bool may_be_differentiated(const c10::IValue& argument) {
  if (!argument.isTensor() || !argument.toTensor().defined()) {
    return false;
  }
  const at::Tensor& tensor = argument.toTensor();
  return (at::GradMode::is_enabled() && tensor.requires_grad()) || tensor._fw_grad(0).defined();
}

class ValuesAlone final : public c10::OperatorKernel {
 public:
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    const auto arguments = torch::jit::last(*stack, op.schema().arguments().size());
    const bool is_whole =
        is_for_ranks(arguments) && !std::ranges::any_of(arguments, may_be_differentiated);
    (is_whole ? call_whole : call_composed)(op, keys, stack);
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(aten, PythonTLSSnapshot, library) {
  for (const char* name :
       {"linalg_svdvals", "linalg_svdvals.out", "linalg_eigvalsh", "linalg_eigvalsh.out",
        "linalg_matrix_rank", "linalg_matrix_rank.out", "linalg_matrix_rank.tol_tensor",
        "linalg_matrix_rank.out_tol_tensor", "linalg_matrix_rank.atol_rtol_tensor",
        "linalg_matrix_rank.atol_rtol_tensor_out", "linalg_matrix_rank.atol_rtol_float",
        "linalg_matrix_rank.atol_rtol_float_out"}) {
    library.impl(name, first_key_kernel<ValuesAlone>());
  }
}

}  // namespace polyrank
