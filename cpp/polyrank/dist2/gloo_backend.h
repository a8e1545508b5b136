// Groups of real processes through gloo.
#pragma once

#include <polyrank/dist2/backend_registry.h>

namespace polyrank::dist2 {

// The factory of "gloo": serves the request's device, the CPU, and CUDA where there is one. It has
// no options. In a world of ours it gives that world's group; see NOTE [The backend of a world].
// Throws: UsageError if it is given an option; CollectiveError if a member does not come in time.
ProcessGroup make_gloo_group(const GroupRequest& request);

}  // namespace polyrank::dist2
