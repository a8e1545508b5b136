// Collectives in the lockstep world: all groups of a family at once, on LocalTensors.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <polyrank/core/export.h>

namespace polyrank {

// NOTE [How a collective runs in lockstep]
// An operator of a collective namespace comes to run_lockstep_collective() instead of the engine:
//  1. its arguments are read as its row of the table says (read_call);
//  2. the group that it names stands for a family (resolve_group), of which those groups run whose
//     members are all ranks of the tensors;
//  3. groups whose members hold the same tuple of cohorts get the same results: they are computed
//     once per tuple (exchange);
//  4. where all members get the same, the members of all groups of one tuple are one cohort
//     afterwards; else the first members are one, the second, and so on;
//  5. results become LocalTensors or are written to the operator's tensors (RankOperand::write),
//     the launch is noted in the report, and the Work that is returned is complete.

// Runs one operator of the table; `stack` holds its arguments on top, and its results afterwards.
// The engine calls it from the time that the library is loaded; it refuses operators of the
// collective namespaces that are not in the table, or that lockstep does not run.
// Throws: CollectiveError, UnsupportedOpError, UsageError, DivergenceError.
void run_lockstep_collective(const c10::OperatorHandle& op, torch::jit::Stack* stack);

}  // namespace polyrank
