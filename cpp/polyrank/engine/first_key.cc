#include <ATen/core/LegacyTypeDispatch.h>
#include <polyrank/engine/first_key.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/operands.h>

namespace polyrank {

namespace {

const c10::DispatchKeySet kAfterFirst(c10::DispatchKeySet::FULL_AFTER, kFirstKey);

}  // namespace

void call_composed(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                   torch::jit::Stack* stack) {
  static const auto pytorch = pytorch_fallback(kFirstKey);
  pytorch.callBoxed(op, keys, stack);
}

void call_whole(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const at::AutoDispatchBelowAutograd whole;
  op.redispatchBoxed((keys & kAfterFirst) - c10::autograd_dispatch_keyset, stack);
}

bool is_for_ranks(c10::ArrayRef<c10::IValue> arguments) {
  const OperandScan scan = scan_operands(arguments);
  return !scan.has_foreign && (scan.has_local || current_modes().lockstep != nullptr);
}

}  // namespace polyrank
