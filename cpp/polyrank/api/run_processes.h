// Runs a C++ program once per rank, each in a process of its own.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/api/rank_context.h>
#include <polyrank/core/export.h>
#include <polyrank/matching/shared_run.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace polyrank {

// Calls `program` once per rank, each in a process that is forked off this one, and returns the
// tensors that each gave, by rank, when all have ended.
//
// A rank has what the caller has; what it changes it alone sees. It computes on one thread. A rank
// that neither ends nor launches 10 s after another has failed is killed. With an order, one goes
// at a time, so that runs repeat: see NOTE [Turns of processes] in matching/shared_turns.h. Throws:
// what the first rank to fail threw: its class if it is one of core/errors.h, else
//         CollectiveError, which also says that a rank died; UsageError if world_size < 1.
POLYRANK_API std::vector<std::vector<at::Tensor>> run_processes(
    std::int64_t world_size, const std::function<std::vector<at::Tensor>(RankContext&)>& program,
    const SharedRunOptions& options = {});

}  // namespace polyrank
