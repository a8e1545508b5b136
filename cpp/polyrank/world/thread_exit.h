// When a thread is over, what it kept in thread_local variables included.
#pragma once

#include <polyrank/core/export.h>

#include <future>

namespace polyrank {

// Ready once the calling thread has destroyed its thread_locals (those that it made after the first
// call of this function). A Python thread that is joined still has to do that: PyTorch keeps Python
// objects there (a logger of DTensor's), and lets go of them without the interpreter's lock. So
// whoever may drop the last other reference waits for this first.
POLYRANK_API std::shared_future<void> exit_of_this_thread();

}  // namespace polyrank
