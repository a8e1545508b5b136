// Where processes meet that torchrun, or who sets its variables, has started.
#pragma once

#include <polyrank/dist2/backend_registry.h>

#include <chrono>

namespace polyrank::dist2 {

// RANK and WORLD_SIZE. Throws: UsageError if the variable is missing or no number, naming it.
int rank_of_environment();
int world_size_of_environment();

// The store at MASTER_ADDR:MASTER_PORT: rank 0 serves it, or torchrun's agent. Each call of a
// process gives keys of their own, the same on all ranks that call equally often. Throws:
// UsageError as above; CollectiveError if nobody serves it in time.
Store environment_store(int rank, int world_size, std::chrono::milliseconds timeout);

}  // namespace polyrank::dist2
