// One thread at a time draws from the ranks' random streams.
#pragma once

#include <polyrank/core/export.h>

#include <mutex>

namespace polyrank {

// While it lives no other thread draws from streams of ranks, seeds or reads them: threads of a
// program share them, and the default generator, in whose place a stream stands while some
// operators run. A thread may have several. Waits without the interpreter's lock, which the one who
// draws may need.
class POLYRANK_API RandomTurn {
 public:
  RandomTurn();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

}  // namespace polyrank
