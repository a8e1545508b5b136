// How ranks wait for each other, and for their turns.
#include <polyrank/core/errors.h>
#include <polyrank/matching/shared_run_state.h>
#include <polyrank/shared_memory/futex.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace polyrank {

using std::chrono_literals::operator""ms;

namespace {

using Clock = std::chrono::steady_clock;

// Handlers of signals run between two sleeps even if the signal came just before the first one.
constexpr std::chrono::milliseconds kLongestSleep{1000};
constexpr int kSpins = 2000;

// While this is there the sleeper sleeps on the word.
class Asleep {
 public:
  Asleep(SharedSleeper* sleeper, DoneWord* word) : sleeper_(sleeper) { sleeper_->word = word; }
  ~Asleep() { sleeper_->word = nullptr; }
  Asleep(const Asleep&) = delete;
  Asleep& operator=(const Asleep&) = delete;

 private:
  SharedSleeper* sleeper_;
};

}  // namespace

bool SharedRun::has_turn() const noexcept {
  return !shared_->turns || !is_rank() || shared_->turns->has_turn(rank_);
}

void SharedRun::take_turn(void (*on_interrupt)()) {
  auto& turns = shared_->turns;
  if (!turns || has_turn()) {
    return;
  }
  {
    const Lock lock(this);
    turns->add(rank_);
  }
  turns->await(rank_, on_interrupt);
}

void SharedRun::yield(void (*on_interrupt)()) {
  auto& turns = shared_->turns;
  if (turns && is_rank()) {
    {
      const Lock lock(this);
      turns->yield(rank_);
    }
    turns->await(rank_, on_interrupt);
  }
}

std::optional<SharedTurns::Turn> SharedRun::turn() {
  auto& turns = shared_->turns;
  if (!turns || shared_->failure.has_failed) {
    return std::nullopt;
  }
  try {
    const Lock lock(this);
    return turns->turn();
  } catch (const Error&) {  // a rank has died while it changed the board: the run has failed
    return std::nullopt;
  }
}

void SharedRun::end_turn(std::uint64_t number) {
  const Lock lock(this);
  if (auto& turns = shared_->turns) {
    turns->end_turn(number);
  }
}

// Under the lock. First threads in quick meetings are among those that run, for the board.
std::optional<SharedRun::Stillness> SharedRun::stillness_locked() const {
  const MatchBoard& board = shared_->board;
  if (shared_->turns && shared_->turns->turn()) {
    return std::nullopt;  // somebody gets the turn once it is taken from who sleeps
  }
  Stillness stillness{.number = shared_->num_waits, .ranks = {}};
  bool some_wait = shared_->num_quick_waits > 0;
  for (std::int64_t thread = 0; thread < board.end_of_threads(); ++thread) {
    const RankActivity& activity = board.activity(thread);
    const bool is_waiting = activity.state == RankState::kWaiting;
    some_wait |= is_waiting;
    if (is_waiting && activity.other_end == OtherEnd::kTimeout) {
      return std::nullopt;
    }
    if (activity.state == RankState::kRunning ||
        (is_waiting && activity.other_end == OtherEnd::kOutside)) {
      stillness.ranks.push_back(board.rank_of(thread));
    }
  }
  return some_wait && !stillness.ranks.empty() ? std::optional(std::move(stillness)) : std::nullopt;
}

std::optional<SharedRun::Stillness> SharedRun::stillness() {
  if (shared_->failure.has_failed) {
    return std::nullopt;
  }
  try {
    const Lock lock(this);
    return stillness_locked();
  } catch (const Error&) {  // as above
    return std::nullopt;
  }
}

void SharedRun::end_stillness(std::uint64_t number, const Interrupt& interrupt) {
  const Lock lock(this);
  const std::optional<Stillness> stillness = stillness_locked();
  if (!stillness || stillness->number != number) {
    return;
  }
  fail_as_standstill(interrupt);
}

void SharedRun::raise_failure() {
  const Lock lock(this);  // whoever interrupted this rank fails the run before it lets go
  check_not_failed();
}

// The calling thread's number on the board while it waits; nothing if the meeting is done by now.
std::optional<std::int64_t> SharedRun::set_waiting(const HeldMeeting& meeting,
                                                   const WaitOptions& options) {
  const Lock lock(this);
  if (meeting->is_done) {
    return std::nullopt;
  }
  check_not_failed();
  MatchBoard& board = shared_->board;
  const std::int64_t thread =
      std::this_thread::get_id() == first_thread_ ? rank_ : board.add_thread(rank_);
  meeting->waiting.push_back(thread);
  const OtherEnd without_timeout = options.may_go_on ? OtherEnd::kOutside : OtherEnd::kNone;
  board.set_waiting(thread, meeting.pointer(),
                    options.timeout ? OtherEnd::kTimeout : without_timeout);
  ++shared_->num_waits;
  if (board.is_stuck()) {
    fail_as_standstill();
  }
  if (shared_->turns && board.activity(rank_).state == RankState::kWaiting) {
    shared_->turns->leave(rank_);
  }
  return thread;
}

// The thread waits no more.
void SharedRun::set_running(std::int64_t thread) {
  const Lock lock(this);
  if (thread == rank_) {
    shared_->board.set_running(rank_);
  } else {
    shared_->board.remove_thread(thread);
  }
}

std::optional<std::chrono::milliseconds> SharedRun::timeout_of(const WaitOptions& options) const {
  return options.timeout ? options.timeout : options_.timeout;
}

// Until the meeting is done or the run has failed.
// Throws: what on_interrupt() throws; CollectiveError when time is up.
void SharedRun::sleep(const HeldMeeting& meeting, const WaitOptions& options) {
  const auto timeout = timeout_of(options);
  const auto deadline = Clock::now() + timeout.value_or(0ms);
  DoneWord& word = meeting->is_done;
  SharedSleeper none;
  const bool is_first = std::this_thread::get_id() == first_thread_;
  const Asleep asleep(is_first ? &shared_->sleepers[static_cast<std::size_t>(rank_)] : &none,
                      &word);
  bool has_helped = options.help == nullptr;
  while (!shared_->failure.has_failed) {
    const std::uint32_t value = word.value();
    if (value == DoneWord::kDone || value == DoneWord::kStopped) {
      break;
    }
    if (value == DoneWord::kShared && !has_helped) {
      options.help(meeting->outcome.get());
      has_helped = true;
      continue;
    }
    std::chrono::nanoseconds duration = kLongestSleep;
    if (timeout) {
      duration = std::min<std::chrono::nanoseconds>(duration, deadline - Clock::now());
      if (duration <= std::chrono::nanoseconds(0)) {
        break;
      }
    }
    const FutexResult result = futex_wait(word.word(), value, duration);
    if (result != FutexResult::kWoken && options.on_interrupt != nullptr) {
      options.on_interrupt();
    }
  }
}

// Throws: as sleep(); what the others are told once the run has failed.
void SharedRun::wait_as(std::int64_t thread, const HeldMeeting& meeting,
                        const WaitOptions& options) {
  std::exception_ptr late;
  try {
    sleep(meeting, options);
    if (!meeting->is_done) {
      check_not_failed();
      const Lock lock(this);
      if (!meeting->is_done) {
        move_all_to_board();
        late = explain_timeout(shared_->board, rank_, *meeting, timeout_of(options).value_or(0ms));
      }
    }
  } catch (...) {
    set_running(thread);
    throw;
  }
  if (thread != rank_ || late != nullptr) {  // else whoever finished the meeting has
    set_running(thread);
  }
  take_turn(options.on_interrupt);
  if (late != nullptr) {
    std::rethrow_exception(late);
  }
}

void SharedRun::wait(const HeldMeeting& meeting, const WaitOptions& options) {
  for (int spin = 0; spins_ && spin < kSpins && !meeting->is_done; ++spin) {
    __builtin_ia32_pause();
  }
  if (!meeting->is_done) {
    if (const std::optional<std::int64_t> thread = set_waiting(meeting, options)) {
      wait_as(*thread, meeting, options);
    }
  }
  if (meeting->fault) {
    std::rethrow_exception(
        to_exception({.kind = *meeting->fault, .text = meeting->fault_text.str()}));
  }
}

}  // namespace polyrank
