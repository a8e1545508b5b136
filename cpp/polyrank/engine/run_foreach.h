// Operators on lists of tensors, position by position.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/operator_info.h>

namespace polyrank {

// Runs a `_foreach_` or `_fused_` operator, whose position i depends on position i of its parallel
// lists only. Positions of one partition run together, those of different ones apart: so a weight
// that all ranks share stays shared beside one that is sharded.
// Requires: info.is_foreach
// Throws: as run_operator().
void run_foreach(const c10::OperatorHandle& op, const OperatorInfo& info, LockstepMode* mode,
                 torch::jit::Stack* stack);

}  // namespace polyrank
