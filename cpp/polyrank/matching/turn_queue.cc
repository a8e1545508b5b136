#include <polyrank/matching/turn_queue.h>

#include <algorithm>

namespace polyrank {

TurnQueue::TurnQueue(std::int64_t num_threads, TurnOrder order, std::uint64_t seed)
    : order_(order), random_(seed) {
  for (std::int64_t thread = 1; thread < num_threads; ++thread) {
    ready_.push_back(thread);
  }
}

bool TurnQueue::is_ready(std::int64_t thread) const noexcept {
  return std::ranges::find(ready_, thread) != ready_.end();
}

void TurnQueue::remove(std::int64_t thread) { std::erase(ready_, thread); }

std::optional<std::int64_t> TurnQueue::pass() {
  holder_.reset();
  if (!ready_.empty()) {
    // Not a std distribution: those differ between standard libraries.
    const auto chosen =
        order_ == TurnOrder::kRandom ? static_cast<std::ptrdiff_t>(random_() % ready_.size()) : 0;
    holder_ = ready_[static_cast<std::size_t>(chosen)];
    ready_.erase(ready_.begin() + chosen);
  }
  return holder_;
}

}  // namespace polyrank
