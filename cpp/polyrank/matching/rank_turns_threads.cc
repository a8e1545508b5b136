// Threads that ranks start, notices, and what is said of a run: see NOTE [Threads of a rank].
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/rank_turns.h>
#include <polyrank/matching/standstill.h>
#include <polyrank/matching/thread_lines.h>

#include <algorithm>
#include <utility>

namespace polyrank {

bool RankTurns::is_waiting_for_notice(std::int64_t thread) const {
  const RankActivity& activity = board_.activity(thread);
  return activity.state == RankState::kWaiting && !activity.waits_for->event.empty() &&
         activity.waits_for->is_notice;
}

std::int64_t RankTurns::add_thread(std::int64_t rank) {
  const Lock lock(mutex_);
  const std::int64_t thread = board_.add_thread(rank);
  if (board_.end_of_threads() > static_cast<std::int64_t>(signals_.size())) {
    signals_.emplace_back();
  }
  queue_.add(thread);
  ++num_events_;
  return thread;
}

std::size_t RankTurns::num_threads(std::int64_t rank) const {
  const Lock lock(mutex_);
  return board_.threads_of(rank).size();
}

void RankTurns::end_threads(std::int64_t rank) {
  constexpr int kMostTurns = 100;
  Lock lock(mutex_);
  const auto is_ready = [&](std::int64_t started) { return queue_.is_ready(started); };
  const auto is_some_ready = [&] {
    const std::vector<std::int64_t> threads = board_.threads_of(rank);
    return std::any_of(threads.begin(), threads.end(), is_ready);
  };
  for (int turn = 0; turn < kMostTurns && is_some_ready(); ++turn) {  // they may end by themselves
    queue_.add(rank);
    await_again(rank, &lock);
  }
  for (const std::int64_t thread : board_.threads_of(rank)) {
    ended_.insert(thread);
    if (board_.activity(thread).state == RankState::kWaiting) {
      make_ready(thread);
    }
  }
  const auto can_go_on = [&](std::int64_t thread) { return !paused_.contains(thread); };
  for (;;) {
    const std::vector<std::int64_t> threads = board_.threads_of(rank);
    if (std::none_of(threads.begin(), threads.end(), can_go_on)) {
      return;
    }
    queue_.add(rank);
    await_again(rank, &lock);
  }
}

std::shared_ptr<Meeting> RankTurns::expect_notice(std::int64_t thread, const void* thing,
                                                  const std::string& event,
                                                  const std::string& where) {
  const Lock lock(mutex_);
  auto notice = new_event(board_.rank_of(thread), event, where);
  notice->is_notice = true;
  notices_[thing].push_back(notice);
  ++num_notices_;
  return notice;
}

void RankTurns::await_notice(std::int64_t thread, const void* thing,
                             const std::shared_ptr<Meeting>& notice,
                             std::optional<std::chrono::milliseconds> timeout) {
  Lock lock(mutex_);
  const auto forget = [&] {
    const auto found = notices_.find(thing);
    if (found != notices_.end() && std::erase(found->second, notice) > 0) {
      --num_notices_;
      if (found->second.empty()) {
        notices_.erase(found);
      }
    }
  };
  try {
    wait_up_to(thread, notice, {.timeout = timeout, .is_for_notice = true}, &lock);
  } catch (...) {
    forget();
    throw;
  }
  forget();
  if (!notice->is_done && !is_started(thread)) {
    check_not_failed();
  }
}

void RankTurns::notify(const void* thing) noexcept {
  if (num_notices_ == 0) {
    return;
  }
  Lock lock(mutex_);
  const auto found = notices_.find(thing);
  if (found == notices_.end()) {
    return;
  }
  const std::vector<std::shared_ptr<Meeting>> notices = std::move(found->second);
  notices_.erase(found);
  num_notices_ -= notices.size();
  ++num_events_;
  for (const auto& notice : notices) {
    finish_locked(notice.get(), nullptr);
  }
  pass_if_nobody_has_it(&lock);
}

std::uint64_t RankTurns::num_events() const {
  const Lock lock(mutex_);
  return num_events_;
}

// Requires: the lock
bool RankTurns::waits_for_notices_alone() const {
  if (queue_.holder() || queue_.is_anyone_ready() || !paused_.empty()) {
    return false;
  }
  bool some_wait = false;
  for (std::int64_t thread = 0; thread < board_.end_of_threads(); ++thread) {
    const RankActivity& activity = board_.activity(thread);
    if (activity.state == RankState::kWaiting && activity.other_end == OtherEnd::kTimeout) {
      return false;
    }
    some_wait = some_wait || is_waiting_for_notice(thread);
  }
  return some_wait;
}

void RankTurns::end_standstill(bool may_fail) {
  Lock lock(mutex_);
  if (!waits_for_notices_alone() || failure_ != nullptr) {
    return;
  }
  if (num_events_when_looked_ != num_events_) {
    num_events_when_looked_ = num_events_;
    for (std::int64_t thread = 0; thread < board_.end_of_threads(); ++thread) {
      if (is_waiting_for_notice(thread)) {
        make_ready(thread);
      }
    }
  } else if (may_fail) {
    fail_all(explain_standstill(board_, options_.noun));
  }
  pass_if_nobody_has_it(&lock);
}

std::string RankTurns::describe(const std::map<std::int64_t, std::string>& places) const {
  const Lock lock(mutex_);
  return describe_threads(board_, options_.noun, [&](std::int64_t thread, bool is_one) {
    const std::string_view state =
        thread == queue_.holder()  ? (is_one ? "has the turn" : "have the turn")
        : paused_.contains(thread) ? (is_one ? "waits outside" : "wait outside")
                                   : "could go on";
    const auto place = places.find(thread);
    return place == places.end() ? std::string(state) : str_cat(state, ", ", place->second);
  });
}

bool RankTurns::is_launching(std::int64_t rank, std::int64_t thread,
                             const MeetingGroup& group) const {
  const Lock lock(mutex_);
  std::vector<std::int64_t> others = board_.threads_of(rank);
  others.push_back(rank);
  return std::any_of(others.begin(), others.end(), [&](std::int64_t other) {
    const RankActivity& activity = board_.activity(other);
    return other != thread && activity.state == RankState::kWaiting &&
           activity.waits_for->group.get() == &group && !activity.waits_for->is_message;
  });
}

}  // namespace polyrank
