// What autograd learns of a collective's outputs.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>

namespace polyrank {

// NOTE [Versions of what collectives write]
// Autograd refuses a backward whose saved tensor was written since, by the tensor's version. c10d's
// operators don't count it up. Where gloo copies into outputs (all_gather, reduce_scatter, gather,
// lists of all_to_all) the copy does, so that a buffer that is written again before its backward is
// an error there. Here it is one for all devices: NCCL writes without a word, and the gradients are
// wrong. Where no backend counts (all_reduce, broadcast), a program may depend on it.

// Counts up the versions of what `call` writes, if one of PyTorch's backends does.
// Ensures: at launch, so that a write between launch and wait is still told from it
POLYRANK_API void count_written_versions(const CollectiveCall& call);

}  // namespace polyrank
