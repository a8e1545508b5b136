#include <polyrank/matching/shared_turns.h>
#include <polyrank/shared_memory/futex.h>

#include <chrono>

namespace polyrank {

namespace {

// Handlers of signals run between two sleeps even if the signal came just before the first one.
constexpr std::chrono::milliseconds kLongestSleep{1000};

}  // namespace

SharedTurns::SharedTurns(std::int64_t world_size, TurnOrder order, std::uint64_t seed)
    : queue_(world_size, order, seed), words_(static_cast<std::size_t>(world_size)) {
  set_word(0, kHasTurn);
}

void SharedTurns::set_word(std::int64_t rank, std::uint32_t value) noexcept {
  std::atomic<std::uint32_t>& word = words_[static_cast<std::size_t>(rank)];
  word = value;
  if (value != kWaits) {
    futex_wake_all(word);
  }
}

void SharedTurns::pass() {
  if (const auto before = queue_.holder()) {
    set_word(*before, kWaits);
  }
  ++number_;
  if (const auto next = queue_.pass()) {
    set_word(*next, kHasTurn);
  }
}

std::optional<SharedTurns::Turn> SharedTurns::turn() const noexcept {
  const auto holder = queue_.holder();
  if (has_stopped_ || !holder || !queue_.is_anyone_ready()) {
    return std::nullopt;
  }
  return Turn{.rank = *holder, .number = number_};
}

void SharedTurns::add(std::int64_t rank) {
  if (has_stopped_ || queue_.holder() == rank || queue_.is_ready(rank)) {
    return;
  }
  queue_.add(rank);
  if (!queue_.holder()) {
    pass();
  }
}

void SharedTurns::leave(std::int64_t rank) {
  if (has_stopped_) {
    return;
  }
  queue_.remove(rank);
  if (queue_.holder() == rank) {
    pass();
  }
}

void SharedTurns::yield(std::int64_t rank) {
  if (queue_.holder() != rank) {
    add(rank);
  } else if (!has_stopped_ && queue_.is_anyone_ready()) {
    queue_.add(rank);
    pass();
  }
}

void SharedTurns::end_turn(std::uint64_t number) {
  if (!has_stopped_ && number == number_ && queue_.holder()) {
    pass();
  }
}

void SharedTurns::stop() noexcept {
  has_stopped_ = true;
  for (std::size_t rank = 0; rank < words_.size(); ++rank) {
    set_word(static_cast<std::int64_t>(rank), kIsFree);
  }
}

void SharedTurns::await(std::int64_t rank, void (*on_interrupt)()) const {
  while (!has_turn(rank)) {
    const FutexResult result = futex_wait(word(rank), kWaits, kLongestSleep);
    if (result != FutexResult::kWoken && on_interrupt != nullptr) {
      on_interrupt();
    }
  }
}

}  // namespace polyrank
