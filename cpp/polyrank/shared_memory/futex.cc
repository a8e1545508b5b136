#include <linux/futex.h>
#include <polyrank/shared_memory/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

namespace polyrank {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t) &&
              std::atomic<std::uint32_t>::is_always_lock_free);

FutexResult futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t value,
                       std::optional<std::chrono::nanoseconds> timeout) noexcept {
  timespec duration{};
  if (timeout) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
    duration.tv_sec = seconds.count();
    duration.tv_nsec = (*timeout - seconds).count();
  }
  const long result = syscall(SYS_futex, &word, FUTEX_WAIT, value, timeout ? &duration : nullptr);
  if (result == 0 || errno == EAGAIN) {
    return FutexResult::kWoken;
  }
  return errno == ETIMEDOUT ? FutexResult::kTimeout : FutexResult::kInterrupted;
}

void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX);
}

}  // namespace polyrank
