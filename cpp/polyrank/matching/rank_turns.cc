#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/rank_turns.h>
#include <polyrank/matching/standstill.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

namespace polyrank {

TurnSignal::TurnSignal() { sem_init(&semaphore_, /*pshared=*/0, 0); }

TurnSignal::~TurnSignal() { sem_destroy(&semaphore_); }

void TurnSignal::give() noexcept { sem_post(&semaphore_); }

void TurnSignal::await() noexcept {
  while (sem_wait(&semaphore_) != 0) {  // a handler of a signal ran
  }
}

bool TurnSignal::await_for(std::chrono::milliseconds timeout) noexcept {
  using std::chrono::nanoseconds;
  const auto deadline = std::chrono::steady_clock::now().time_since_epoch() + timeout;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(deadline);
  const timespec until{
      .tv_sec = seconds.count(),
      .tv_nsec = std::chrono::duration_cast<nanoseconds>(deadline - seconds).count()};
  int result = 0;
  do {
    result = sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &until);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

RankTurns::RankTurns(std::int64_t world_size, TurnOptions options)
    : board_(world_size),
      queue_(world_size, options.order, options.seed),
      options_(std::move(options)) {
  signals_.resize(static_cast<std::size_t>(world_size));
  signal(0).give();
}

// Takes who has the turn next out of those who are ready; nobody, if none is.
std::optional<std::int64_t> RankTurns::choose_next() {
  if (!queue_.is_anyone_ready() && board_.is_stuck()) {
    fail_all(explain_standstill(board_, options_.noun));
  }
  return queue_.pass();
}

// The calling thread has the turn, or nobody has it.
// Ensures: (1) `lock` is free: who is woken will want it at once.
void RankTurns::pass_turn(Lock* lock) {
  const std::optional<std::int64_t> next = choose_next();
  TurnSignal* const of_next = next ? &signal(*next) : nullptr;
  lock->unlock();
  if (of_next != nullptr) {
    of_next->give();
  }
}

// Gives the turn away; returns with it and the lock.
// Requires: the thread has the turn and is ready
void RankTurns::await_again(std::int64_t thread, Lock* lock) {
  TurnSignal& own = signal(thread);
  pass_turn(lock);
  own.await();
  lock->lock();
}

void RankTurns::pass_if_nobody_has_it(Lock* lock) {
  if (!queue_.holder()) {
    pass_turn(lock);
  } else {
    lock->unlock();
  }
}

void RankTurns::make_ready(std::int64_t thread) {
  board_.set_running(thread);
  queue_.add(thread);
}

void RankTurns::fail_all(const std::exception_ptr& error) {
  if (failure_ == nullptr) {
    failure_ = error;
  }
  for (std::int64_t thread = 0; thread < board_.end_of_threads(); ++thread) {
    // A thread that a rank has started waits for work as long as the rank lives.
    if (board_.activity(thread).state == RankState::kWaiting &&
        !(is_started(thread) && is_waiting_for_notice(thread))) {
      make_ready(thread);
    }
  }
}

void RankTurns::check_not_failed() const {
  if (failure_ != nullptr) {
    std::rethrow_exception(failure_);
  }
}

// Requires: the lock
void RankTurns::check_may_go_on(std::int64_t thread) const {
  if (ended_.contains(thread)) {
    throw ThreadEnded(str_cat(options_.noun, " ", board_.rank_of(thread),
                              ", which started this thread, has ended"));
  }
}

void RankTurns::begin(std::int64_t thread) {
  Lock lock(mutex_);
  TurnSignal& own = signal(thread);
  lock.unlock();
  own.await();
  lock.lock();
  check_may_go_on(thread);
  check_not_failed();
}

void RankTurns::end(std::int64_t thread) {
  Lock lock(mutex_);
  ++num_events_;
  if (is_started(thread)) {
    board_.remove_thread(thread);
    ended_.erase(thread);
    queue_.remove(thread);  // it could not be started
  } else {
    board_.set_returned(thread);
  }
  if (queue_.holder() == thread) {  // else it came back from outside after its rank had ended
    pass_turn(&lock);
  }
}

void RankTurns::end_failed(std::int64_t rank, const std::string& failure) {
  Lock lock(mutex_);
  ++num_events_;
  board_.set_failed(rank, failure);
  fail_all(explain_failure(rank, failure, options_.noun));
  pass_turn(&lock);
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
  ++num_events_;
  return settle(board_.arrive(rank, group, std::move(launch), std::move(payload)));
}

Arrival RankTurns::send(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                        const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                        std::shared_ptr<void> payload) {
  const Lock lock(mutex_);
  check_not_failed();
  ++num_events_;
  return settle(board_.send(rank, peer, tag, group, std::move(launch), std::move(payload)));
}

Arrival RankTurns::receive(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                           const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                           std::shared_ptr<void> payload) {
  const Lock lock(mutex_);
  check_not_failed();
  ++num_events_;
  return settle(board_.receive(rank, peer, tag, group, std::move(launch), std::move(payload)));
}

void RankTurns::finish_locked(Meeting* meeting, std::exception_ptr error) {
  meeting->is_done.set(DoneWord::kDone);
  meeting->error = std::move(error);
  BoardList<std::int64_t>& waiting = meeting->waiting;
  std::sort(waiting.begin(), waiting.end());
  for (const std::int64_t thread : waiting) {
    if (board_.activity(thread).waits_for.get() == meeting) {
      make_ready(thread);
    }
  }
  waiting.clear();
}

void RankTurns::finish(const std::shared_ptr<Meeting>& meeting, std::exception_ptr error) {
  // Tensors need not live as long as a Work that nobody waits for. They end without the lock: that
  // may take the interpreter's, under which others take ours.
  BoardList<std::shared_ptr<void>> payloads;
  Lock lock(mutex_);
  payloads.swap(meeting->payloads);
  finish_locked(meeting.get(), std::move(error));
  pass_if_nobody_has_it(&lock);
}

// Gives the turn away; returns with it and the lock. False if time was up before the meeting was
// done.
bool RankTurns::await_turn(std::int64_t thread, const std::shared_ptr<Meeting>& meeting,
                           std::optional<std::chrono::milliseconds> timeout, Lock* lock) {
  TurnSignal& own = signal(thread);
  pass_turn(lock);
  bool is_late = false;
  if (!timeout) {
    own.await();
  } else if (!own.await_for(*timeout)) {
    lock->lock();
    is_late = board_.activity(thread).waits_for == meeting;  // nobody has made it ready
    if (is_late) {
      make_ready(thread);
      pass_if_nobody_has_it(lock);
    } else {
      lock->unlock();
    }
    own.await();
  }
  lock->lock();
  return !is_late;
}

// Returns with the turn. False if time was up before the meeting was done.
bool RankTurns::wait_up_to(std::int64_t thread, const std::shared_ptr<Meeting>& meeting,
                           const Wait& wait, Lock* lock) {
  check_may_go_on(thread);
  if (meeting->is_done) {
    return true;
  }
  if (!wait.is_for_notice || !is_started(thread)) {
    check_not_failed();
  }
  meeting->waiting.push_back(thread);
  board_.set_waiting(thread, meeting,
                     wait.timeout         ? OtherEnd::kTimeout
                     : wait.is_for_notice ? OtherEnd::kOutside
                                          : OtherEnd::kNone);
  const bool is_in_time = await_turn(thread, meeting, wait.timeout, lock);
  check_may_go_on(thread);
  return is_in_time;
}

void RankTurns::wait(std::int64_t thread, const std::shared_ptr<Meeting>& meeting) {
  Lock lock(mutex_);
  wait_up_to(thread, meeting, {}, &lock);
  if (!meeting->is_done) {
    check_not_failed();
  }
  if (meeting->error != nullptr) {
    std::rethrow_exception(meeting->error);
  }
}

void RankTurns::wait_for(std::int64_t thread, const std::shared_ptr<Meeting>& meeting,
                         std::chrono::milliseconds timeout) {
  Lock lock(mutex_);
  const bool is_in_time = wait_up_to(thread, meeting, {.timeout = timeout}, &lock);
  if (!meeting->is_done) {
    check_not_failed();
    if (!is_in_time) {
      board_.set_waiting(thread, meeting, OtherEnd::kTimeout);  // as the report should show it
      const std::exception_ptr error =
          explain_timeout(board_, board_.rank_of(thread), *meeting, timeout, options_.noun);
      board_.set_running(thread);
      std::rethrow_exception(error);
    }
  }
  if (meeting->error != nullptr) {
    std::rethrow_exception(meeting->error);
  }
}

bool RankTurns::is_done(const Meeting& meeting) const {
  const Lock lock(mutex_);
  return static_cast<bool>(meeting.is_done);
}

void RankTurns::yield(std::int64_t thread) {
  Lock lock(mutex_);
  check_may_go_on(thread);
  check_not_failed();
  if (!queue_.is_anyone_ready()) {
    return;
  }
  queue_.add(thread);
  await_again(thread, &lock);
  check_may_go_on(thread);
  check_not_failed();
}

void RankTurns::pause(std::int64_t thread) {
  Lock lock(mutex_);
  paused_.insert(thread);
  pass_turn(&lock);
}

void RankTurns::resume(std::int64_t thread) {
  Lock lock(mutex_);
  paused_.erase(thread);
  check_may_go_on(thread);
  queue_.add(thread);
  TurnSignal& own = signal(thread);
  pass_if_nobody_has_it(&lock);
  own.await();
  lock.lock();
  check_may_go_on(thread);
}

void RankTurns::stop(const std::exception_ptr& error) {
  Lock lock(mutex_);
  fail_all(error);
  pass_if_nobody_has_it(&lock);
}

void RankTurns::note(std::int64_t rank, const std::string& line) {
  const Lock lock(mutex_);
  notes_[line].push_back(rank);
}

std::string RankTurns::leftovers() const {
  const Lock lock(mutex_);
  return describe_leftovers(board_, notes_);
}

}  // namespace polyrank
