// Runs a C++ program once per rank, each in a thread of its own.
#pragma once

#include <polyrank/api/rank_context.h>
#include <polyrank/core/export.h>
#include <polyrank/matching/rank_turns.h>

#include <cstdint>
#include <functional>

namespace polyrank {

// Calls `program` once per rank and returns when all have.
// Throws: what the first rank to fail threw; UsageError if world_size < 1.
POLYRANK_API void run_ranks(std::int64_t world_size,
                            const std::function<void(RankContext&)>& program,
                            const TurnOptions& options = {});

}  // namespace polyrank
