// A current directory for each rank that is a thread.
#pragma once

#include <polyrank/core/export.h>

namespace polyrank {

// Gives the calling thread a current directory and a mask of file modes of its own, at first what
// it had. Threads that it starts from then on share them, processes start with them, as of a
// process. False where the system does not let it: then it shares the process's as before.
POLYRANK_API bool own_directory() noexcept;

}  // namespace polyrank
