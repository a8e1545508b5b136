// Sleeping until another process changes a word.
#pragma once

#include <polyrank/core/export.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace polyrank {

enum class FutexResult : std::uint8_t {
  kWoken,        // or the word was another already, or for no reason: look again
  kTimeout,      // the time was up
  kInterrupted,  // a handler of a signal ran
};

// Sleeps while `word` is `value`, in shared memory, for no longer than `timeout`.
POLYRANK_API FutexResult futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t value,
                                    std::optional<std::chrono::nanoseconds> timeout) noexcept;

// Wakes all who sleep on `word`.
POLYRANK_API void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept;

}  // namespace polyrank
