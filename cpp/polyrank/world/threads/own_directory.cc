#include <polyrank/world/threads/own_directory.h>

#ifdef __linux__
#include <sched.h>
#endif

namespace polyrank {

bool own_directory() noexcept {
#ifdef __linux__
  return ::unshare(CLONE_FS) == 0;
#else
  return false;
#endif
}

}  // namespace polyrank
