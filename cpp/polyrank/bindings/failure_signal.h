// How a rank that sleeps in Python is told that its run has failed.
#pragma once

#include <polyrank/world/processes/rank_process.h>

#include <memory>

namespace polyrank {

// From now on the signal makes this process's main thread raise what the run failed with, in
// Python: also where it waits for a lock, for the end of a thread, or for a queue. Python's table
// of handlers, which programs see, does not have it.
//
// Requires: the calling process is a rank of the run
void raise_failure_on(int signal, std::shared_ptr<RankProcess> process);

}  // namespace polyrank
