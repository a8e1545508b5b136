#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/shared_run.h>
#include <polyrank/matching/standstill.h>
#include <polyrank/matching/thread_lines.h>
#include <polyrank/shared_memory/futex.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

namespace polyrank {

namespace {

using Clock = std::chrono::steady_clock;

// Handlers of signals run between two sleeps even if the signal came just before the first one.
constexpr std::chrono::milliseconds kLongestSleep{1000};
constexpr int kSpins = 2000;

std::atomic<std::uint64_t> num_forks = 0;  // between the process that loaded us and this one

void count_forks() {
  static const bool is_set [[maybe_unused]] = [] {
    pthread_atfork(nullptr, nullptr, [] { ++num_forks; });
    return true;
  }();
}

// What ranks are told once the run has failed. Of plain memory: it is to be readable when the board
// is not.
struct Failure {
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 16;

  std::atomic<bool> has_failed = false;
  FaultKind kind = FaultKind::kError;
  std::size_t num_bytes = 0;
  std::array<char, kMaxBytes> text;
};

void fail(Meeting* meeting, const Fault& fault) {
  meeting->fault = fault.kind;
  meeting->fault_text = fault.text;
}

// A rank whose first thread sleeps says on what, so that it can be woken without the board.
struct Sleeper {
  std::atomic<DoneWord*> word = nullptr;
};

// While this is there the sleeper sleeps on the word.
class Asleep {
 public:
  Asleep(Sleeper* sleeper, DoneWord* word) : sleeper_(sleeper) { sleeper_->word = word; }
  ~Asleep() { sleeper_->word = nullptr; }
  Asleep(const Asleep&) = delete;
  Asleep& operator=(const Asleep&) = delete;

 private:
  Sleeper* sleeper_;
};

}  // namespace

struct SharedRun::Shared {
  explicit Shared(std::int64_t world_size)
      : board(world_size),
        last(static_cast<std::size_t>(world_size)),
        sleepers(static_cast<std::size_t>(world_size)) {}

  RobustMutex mutex;
  std::int64_t holder = -1;  // the rank that has the lock
  bool is_broken = false;    // one died while it had it
  Failure failure;
  MatchBoard board;
  BoardList<std::shared_ptr<const Meeting>> last;  // by rank: what it launched last
  RankNotes notes;
  BoardList<Sleeper> sleepers;  // by rank
  std::shared_ptr<void> store;
};

// The board is there for whoever has this.
class SharedRun::Lock {
 public:
  // Throws: what ranks are told, if somebody died while it changed the board.
  explicit Lock(SharedRun* run) : run_(run), scope_(&run->arena_) {
    Shared& shared = *run->shared_;
    if (!shared.mutex.lock()) {
      shared.is_broken = true;
      run_->fail_all(
          {FaultKind::kCollective,
           str_cat("rank ", shared.holder, " died inside of a launch, so the run ends.")});
    }
    if (shared.is_broken) {
      shared.mutex.unlock();
      run_->check_not_failed();
    }
    shared.holder = run->rank_;
  }
  ~Lock() { run_->shared_->mutex.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  SharedRun* run_;
  BoardMemoryScope scope_;
};

void HeldMeeting::leave() noexcept {
  if (meeting_ != nullptr) {
    run_->leave(std::move(meeting_));
  }
}

SharedRun::SharedRun(std::int64_t world_size, SharedRunOptions options)
    : world_size_(world_size),
      options_(options),
      spins_(world_size <= static_cast<std::int64_t>(std::thread::hardware_concurrency())) {
  count_forks();
  const BoardMemoryScope scope(&arena_);
  shared_ = new (arena_.allocate(sizeof(Shared))) Shared(world_size);
}

// The board goes with the arena.
SharedRun::~SharedRun() = default;

void SharedRun::begin(std::int64_t rank) {
  rank_ = rank;
  first_thread_ = std::this_thread::get_id();
  forks_at_begin_ = num_forks;
}

bool SharedRun::is_rank() const noexcept { return rank_ >= 0 && forks_at_begin_ == num_forks; }

std::optional<Fault> SharedRun::failure() const {
  const Failure& failure = shared_->failure;
  if (!failure.has_failed) {
    return std::nullopt;
  }
  return Fault{.kind = failure.kind, .text = std::string(failure.text.data(), failure.num_bytes)};
}

void SharedRun::check_not_failed() const {
  if (const std::optional<Fault> fault = failure()) {
    std::rethrow_exception(to_exception(*fault));
  }
}

// Under the lock, whose board may be broken.
void SharedRun::fail_all(const Fault& fault) {
  Failure& failure = shared_->failure;
  if (!failure.has_failed) {
    failure.kind = fault.kind;
    failure.num_bytes = std::min(fault.text.size(), Failure::kMaxBytes);
    std::memcpy(failure.text.data(), fault.text.data(), failure.num_bytes);
    failure.has_failed = true;
  }
  for (const Sleeper& sleeper : shared_->sleepers) {
    if (DoneWord* const word = sleeper.word.load()) {
      word->stop();
      futex_wake_all(word->word());
    }
  }
}

void SharedRun::end() {
  const Lock lock(this);
  MatchBoard& board = shared_->board;
  for (const std::int64_t thread : board.threads_of(rank_)) {
    board.set_returned(thread);  // it ends with the process
  }
  board.set_returned(rank_);
  if (board.is_stuck()) {
    fail_all(fault_of(explain_standstill(board)));
  }
}

void SharedRun::end_failed(const std::string& failure) {
  const Lock lock(this);
  shared_->board.set_failed(rank_, failure);
  fail_all(fault_of(explain_failure(rank_, failure)));
}

void SharedRun::died(std::int64_t rank, const std::string& how) {
  const Lock lock(this);
  MatchBoard& board = shared_->board;
  const RankState state = board.activity(rank).state;
  if (state == RankState::kReturned || state == RankState::kFailed) {
    return;
  }
  const auto& last = shared_->last[static_cast<std::size_t>(rank)];
  const std::string failure = last == nullptr ? str_cat("died by ", how, " before its first launch")
                                              : str_cat("died by ", how, "; its last launch was ",
                                                        last->describe(rank), last->where(rank));
  fail_all(fault_of(explain_failure(rank, failure)));  // first: it needs nothing of the arena
  board.set_failed(rank, failure);
}

void SharedRun::stop(const Fault& error) {
  const Lock lock(this);
  fail_all(error);
}

std::string SharedRun::activity() {
  const Lock lock(this);
  return describe_threads(shared_->board, "rank");
}

void SharedRun::note(const std::string& line) {
  const Lock lock(this);
  shared_->notes[line].push_back(rank_);
}

std::string SharedRun::leftovers() {
  const Lock lock(this);
  return describe_leftovers(shared_->board, shared_->notes);
}

void SharedRun::join_group(const std::string& name, const std::vector<std::int64_t>& members) {
  const Lock lock(this);
  check_not_failed();
  shared_->board.join_group(name, members);
}

HeldMeeting SharedRun::hold(std::shared_ptr<Meeting> meeting) {
  return {shared_from_this(), std::move(meeting)};
}

SharedArrival SharedRun::settle(std::shared_ptr<Meeting> meeting) {
  shared_->last[static_cast<std::size_t>(rank_)] = meeting;
  if (!meeting->is_complete()) {
    return {hold(std::move(meeting)), false};
  }
  if (const std::exception_ptr mismatch = explain_mismatch(*meeting)) {
    fail(meeting.get(), fault_of(mismatch));
    finish_locked(*meeting);
    std::rethrow_exception(mismatch);
  }
  return {hold(std::move(meeting)), true};
}

SharedArrival SharedRun::arrive(const std::shared_ptr<const MeetingGroup>& group,
                                const Launch& launch, std::shared_ptr<void> payload) {
  const Lock lock(this);
  check_not_failed();
  return settle(shared_->board.arrive(rank_, group, launch, std::move(payload)));
}

SharedArrival SharedRun::send(std::int64_t peer, std::int64_t tag,
                              const std::shared_ptr<const MeetingGroup>& group,
                              const Launch& launch, std::shared_ptr<void> payload) {
  const Lock lock(this);
  check_not_failed();
  return settle(shared_->board.send(rank_, peer, tag, group, launch, std::move(payload)));
}

SharedArrival SharedRun::receive(std::int64_t peer, std::int64_t tag,
                                 const std::shared_ptr<const MeetingGroup>& group,
                                 const Launch& launch, std::shared_ptr<void> payload) {
  const Lock lock(this);
  check_not_failed();
  return settle(shared_->board.receive(rank_, peer, tag, group, launch, std::move(payload)));
}

void SharedRun::access_store(const std::function<Events(std::shared_ptr<void>& store)>& access) {
  const Lock lock(this);
  check_not_failed();
  for (const auto& event : access(shared_->store)) {
    finish_locked(*event);
  }
}

void SharedRun::finish_locked(Meeting& meeting) {
  MatchBoard& board = shared_->board;
  for (const std::int64_t thread : meeting.waiting) {
    if (board.activity(thread).waits_for.get() == &meeting) {
      board.set_running(thread);
    }
  }
  meeting.is_done.set(DoneWord::kDone);
  if (!meeting.waiting.empty()) {
    futex_wake_all(meeting.is_done.word());
  }
}

void SharedRun::finish(const HeldMeeting& meeting, std::shared_ptr<void> outcome) {
  const Lock lock(this);
  if (outcome != nullptr) {  // else it was share()d, or there is none
    meeting->outcome = std::move(outcome);
  }
  finish_locked(*meeting);
}

void SharedRun::share(const HeldMeeting& meeting, std::shared_ptr<void> outcome) {
  const Lock lock(this);
  meeting->outcome = std::move(outcome);
  meeting->is_done.set(DoneWord::kShared);
  futex_wake_all(meeting->is_done.word());
}

void SharedRun::finish_failed(const HeldMeeting& meeting, const Fault& fault) {
  const Lock lock(this);
  fail(&*meeting, fault);
  finish_locked(*meeting);
}

void SharedRun::leave(std::shared_ptr<Meeting> meeting) noexcept {
  if (is_rank()) {  // a fork of a rank has no share in anything
    try {
      const Lock lock(this);
      if (++meeting->num_left == static_cast<std::int64_t>(meeting->participants.size())) {
        meeting->payloads.clear();
        meeting->outcome.reset();
      }
      meeting.reset();
      return;
    } catch (const Error&) {  // the board is broken
    }
  }
  // Its counter is not this process's to change.
  alignas(std::shared_ptr<Meeting>) std::array<std::byte, sizeof(meeting)> abandoned;
  new (abandoned.data()) std::shared_ptr<Meeting>(std::move(meeting));
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
  const bool may_go_on = options.may_go_on || options.timeout.has_value();
  meeting->waiting.push_back(thread);
  board.set_waiting(thread, meeting.pointer(), may_go_on ? OtherEnd::kTimeout : OtherEnd::kNone);
  if (board.is_stuck()) {
    fail_all(fault_of(explain_standstill(board)));
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

// Until the meeting is done or the run has failed.
// Throws: what on_interrupt() throws; CollectiveError when time is up.
void SharedRun::sleep(const HeldMeeting& meeting, const WaitOptions& options) {
  const auto timeout = options.timeout ? options.timeout : options_.timeout;
  const auto deadline = Clock::now() + timeout.value_or(std::chrono::milliseconds(0));
  DoneWord& word = meeting->is_done;
  Sleeper none;
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
  try {
    sleep(meeting, options);
    if (!meeting->is_done) {
      check_not_failed();
      const Lock lock(this);
      if (!meeting->is_done) {
        std::rethrow_exception(
            explain_timeout(shared_->board, rank_, *meeting,
                            options.timeout ? *options.timeout : *options_.timeout));
      }
    }
  } catch (...) {
    set_running(thread);
    throw;
  }
  if (thread != rank_) {  // whom whoever finished the meeting has set running
    set_running(thread);
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
