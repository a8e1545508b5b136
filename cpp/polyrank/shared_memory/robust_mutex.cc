#include <polyrank/shared_memory/robust_mutex.h>

#include <cerrno>

namespace polyrank {

RobustMutex::RobustMutex() {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutex_, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

bool RobustMutex::lock() noexcept {
  if (pthread_mutex_lock(&mutex_) != EOWNERDEAD) {
    return true;
  }
  pthread_mutex_consistent(&mutex_);
  return false;
}

void RobustMutex::unlock() noexcept { pthread_mutex_unlock(&mutex_); }

}  // namespace polyrank
