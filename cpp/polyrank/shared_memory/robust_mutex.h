// A lock that processes share, and that outlives whoever dies with it.
#pragma once

#include <polyrank/core/export.h>
#include <pthread.h>

namespace polyrank {

// Lies in shared memory.
//
// Thread rule: any thread of any process that has the memory; not recursive.
// Ensures: (1) if the holder's process dies, the next lock() gets it and says so; later ones go on
//          as ever.
class POLYRANK_API RobustMutex {
 public:
  RobustMutex();
  ~RobustMutex() = default;  // its memory may be gone by then, and its users with it
  RobustMutex(const RobustMutex&) = delete;
  RobustMutex& operator=(const RobustMutex&) = delete;
  RobustMutex(RobustMutex&&) = delete;
  RobustMutex& operator=(RobustMutex&&) = delete;

  // False if the last holder died inside: what the lock guards may be half changed.
  [[nodiscard]] bool lock() noexcept;
  void unlock() noexcept;

 private:
  pthread_mutex_t mutex_{};
};

}  // namespace polyrank
