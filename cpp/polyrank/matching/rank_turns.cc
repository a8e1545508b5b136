#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/rank_turns.h>
#include <polyrank/matching/standstill.h>

#include <algorithm>
#include <sstream>
#include <utility>

namespace polyrank {

RankTurns::RankTurns(std::int64_t world_size, TurnOptions options)
    : board_(world_size),
      places_(static_cast<std::size_t>(world_size)),
      options_(std::move(options)),
      random_(options_.seed) {
  place(0).has_turn = true;
  for (std::int64_t rank = 1; rank < world_size; ++rank) {
    ready_.push_back(rank);
  }
}

void RankTurns::await_turn(std::int64_t rank, Lock* lock) {
  Place& own = place(rank);
  own.turn_came.wait(*lock, [&] { return own.has_turn; });
}

void RankTurns::give_turn_to_next() {
  if (ready_.empty()) {
    if (board_.is_stuck()) {
      fail_all(explain_standstill(board_, options_.noun));
      give_turn_to_next();
      return;
    }
    is_turn_taken_ = false;
    return;
  }
  // Not a std distribution: those differ between standard libraries.
  const auto chosen = options_.order == TurnOrder::kRandom
                          ? static_cast<std::ptrdiff_t>(random_() % ready_.size())
                          : 0;
  const std::int64_t rank = ready_[static_cast<std::size_t>(chosen)];
  ready_.erase(ready_.begin() + chosen);
  is_turn_taken_ = true;
  place(rank).has_turn = true;
  place(rank).turn_came.notify_one();
}

void RankTurns::give_turn_away(std::int64_t rank) {
  place(rank).has_turn = false;
  give_turn_to_next();
}

void RankTurns::make_ready(std::int64_t rank) {
  board_.set_running(rank);
  ready_.push_back(rank);
}

void RankTurns::fail_all(const std::exception_ptr& error) {
  if (failure_ == nullptr) {
    failure_ = error;
  }
  for (std::int64_t rank = 0; rank < world_size(); ++rank) {
    if (board_.activity(rank).state == RankState::kWaiting) {
      make_ready(rank);
    }
  }
}

void RankTurns::check_not_failed() const {
  if (failure_ != nullptr) {
    std::rethrow_exception(failure_);
  }
}

void RankTurns::begin(std::int64_t rank) {
  Lock lock(mutex_);
  await_turn(rank, &lock);
  check_not_failed();
}

void RankTurns::end(std::int64_t rank) {
  const Lock lock(mutex_);
  board_.set_returned(rank);
  give_turn_away(rank);
}

void RankTurns::end_failed(std::int64_t rank, const std::string& failure) {
  const Lock lock(mutex_);
  board_.set_failed(rank, failure);
  fail_all(std::make_exception_ptr(
      CollectiveError(str_cat(options_.noun, " ", rank, " failed, so the run ends: ", failure))));
  give_turn_away(rank);
}

std::shared_ptr<const MeetingGroup> RankTurns::join_group(
    const std::string& name, const std::vector<std::int64_t>& members) {
  const Lock lock(mutex_);
  return board_.join_group(name, members);
}

Arrival RankTurns::settle(std::shared_ptr<Meeting> meeting) {
  if (!meeting->is_complete()) {
    return {std::move(meeting), false};
  }
  if (std::exception_ptr mismatch = explain_mismatch(*meeting)) {
    finish_locked(meeting.get(), mismatch);
    std::rethrow_exception(mismatch);
  }
  return {std::move(meeting), true};
}

Arrival RankTurns::arrive(std::int64_t rank, const std::shared_ptr<const MeetingGroup>& group,
                          Launch launch, std::shared_ptr<void> payload) {
  const Lock lock(mutex_);
  check_not_failed();
  return settle(board_.arrive(rank, group, std::move(launch), std::move(payload)));
}

Arrival RankTurns::send(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                        const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                        std::shared_ptr<void> payload) {
  const Lock lock(mutex_);
  check_not_failed();
  return settle(board_.send(rank, peer, tag, group, std::move(launch), std::move(payload)));
}

Arrival RankTurns::receive(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                           const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                           std::shared_ptr<void> payload) {
  const Lock lock(mutex_);
  check_not_failed();
  return settle(board_.receive(rank, peer, tag, group, std::move(launch), std::move(payload)));
}

std::shared_ptr<Meeting> RankTurns::expect(std::int64_t rank, std::string event,
                                           std::string where) {
  auto meeting = std::make_shared<Meeting>();
  meeting->participants = {rank};
  meeting->launches = {Launch{.where = std::move(where)}};
  meeting->num_arrived = 1;
  meeting->event = std::move(event);
  return meeting;
}

void RankTurns::finish_locked(Meeting* meeting, std::exception_ptr error) {
  meeting->is_done = true;
  meeting->error = std::move(error);
  meeting->payloads.clear();  // tensors need not live as long as a Work that nobody waits for
  for (const std::int64_t rank : meeting->participants) {
    if (board_.activity(rank).waits_for.get() == meeting) {
      make_ready(rank);
    }
  }
}

void RankTurns::finish(const std::shared_ptr<Meeting>& meeting, std::exception_ptr error) {
  const Lock lock(mutex_);
  finish_locked(meeting.get(), std::move(error));
}

void RankTurns::wait(std::int64_t rank, const std::shared_ptr<Meeting>& meeting) {
  Lock lock(mutex_);
  if (!meeting->is_done) {
    check_not_failed();
    board_.set_waiting(rank, meeting);
    give_turn_away(rank);
    await_turn(rank, &lock);
  }
  if (!meeting->is_done) {
    check_not_failed();
  }
  if (meeting->error != nullptr) {
    std::rethrow_exception(meeting->error);
  }
}

void RankTurns::wait_for(std::int64_t rank, const std::shared_ptr<Meeting>& meeting,
                         std::chrono::milliseconds timeout) {
  Lock lock(mutex_);
  bool is_late = false;
  if (!meeting->is_done) {
    check_not_failed();
    board_.set_waiting(rank, meeting, /*has_timeout=*/true);
    give_turn_away(rank);
    Place& own = place(rank);
    own.turn_came.wait_for(lock, timeout, [&] { return own.has_turn; });
    if (board_.activity(rank).waits_for == meeting) {  // nobody has made it ready
      is_late = true;
      make_ready(rank);
      if (!is_turn_taken_) {
        give_turn_to_next();
      }
    }
    await_turn(rank, &lock);
  }
  if (!meeting->is_done) {
    check_not_failed();
    if (is_late) {
      board_.set_waiting(rank, meeting, /*has_timeout=*/true);  // as the report should show it
      const std::exception_ptr error = explain_timeout(board_, rank, *meeting, timeout);
      board_.set_running(rank);
      std::rethrow_exception(error);
    }
  }
  if (meeting->error != nullptr) {
    std::rethrow_exception(meeting->error);
  }
}

bool RankTurns::is_done(const Meeting& meeting) const {
  const Lock lock(mutex_);
  return meeting.is_done;
}

void RankTurns::yield(std::int64_t rank) {
  Lock lock(mutex_);
  check_not_failed();
  if (ready_.empty()) {
    return;
  }
  ready_.push_back(rank);
  give_turn_away(rank);
  await_turn(rank, &lock);
  check_not_failed();
}

void RankTurns::pause(std::int64_t rank) {
  const Lock lock(mutex_);
  give_turn_away(rank);
}

void RankTurns::resume(std::int64_t rank) {
  Lock lock(mutex_);
  ready_.push_back(rank);
  if (!is_turn_taken_) {
    give_turn_to_next();
  }
  await_turn(rank, &lock);
}

void RankTurns::stop(const std::exception_ptr& error) {
  const Lock lock(mutex_);
  fail_all(error);
  if (!is_turn_taken_) {
    give_turn_to_next();
  }
}

std::string RankTurns::leftovers() const {
  const Lock lock(mutex_);
  std::ostringstream out;
  for (const auto& meeting : board_.open_meetings()) {
    for (std::size_t i = 0; i < meeting->participants.size(); ++i) {
      const std::optional<Launch>& launch = meeting->launches[i];
      if (!launch) {
        continue;
      }
      const std::int64_t rank = meeting->participants[i];
      out << "  rank " << rank << ": " << meeting->describe(rank)
          << (meeting->is_message ? " was never received" : " was never joined by all members");
      if (!launch->where.empty()) {
        out << "  " << launch->where;
      }
      out << "\n";
    }
  }
  return out.str();
}

}  // namespace polyrank
