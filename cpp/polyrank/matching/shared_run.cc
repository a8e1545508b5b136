#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/matching/shared_run_state.h>
#include <polyrank/matching/standstill.h>
#include <polyrank/matching/thread_lines.h>
#include <polyrank/shared_memory/arena_block.h>
#include <polyrank/shared_memory/futex.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>

namespace polyrank {

namespace {

std::atomic<std::uint64_t> num_forks = 0;  // between the process that loaded us and this one

void count_forks() {
  static const bool is_set [[maybe_unused]] = [] {
    pthread_atfork(nullptr, nullptr, [] { ++num_forks; });
    return true;
  }();
}

void fail(Meeting* meeting, const Fault& fault) {
  meeting->fault = fault.kind;
  meeting->fault_text = fault.text;
}

// Forgets a share in a meeting whose counter is not this process's to change.
void abandon(std::shared_ptr<Meeting> meeting) noexcept {
  alignas(std::shared_ptr<Meeting>) std::array<std::byte, sizeof(meeting)> abandoned{};
  new (abandoned.data()) std::shared_ptr<Meeting>(std::move(meeting));
}

// Those who wait for a meeting that is done: no others come any more.
void wake(const Meeting& meeting) {
  if (!meeting.waiting.empty()) {
    futex_wake_all(meeting.is_done.word());
  }
}

// "all_reduce(sum) float32[4] (launch #3 of group "dp")  train.py:12"; empty if it is none.
std::string describe_last(const LastLaunch& last, std::int64_t rank) {
  if (last.quick_part != nullptr && last.quick_part->launch) {
    const BoardMemoryScope heap(nullptr);  // the rank may have died while it changed the arena
    Meeting meeting;
    meeting.group = last.quick_group->group;
    meeting.sequence = last.quick_part->sequence;
    meeting.participants = {rank};
    meeting.launches = {last.quick_part->launch};
    return meeting.describe(rank) + meeting.where(rank);
  }
  return last.meeting == nullptr ? "" : last.meeting->describe(rank) + last.meeting->where(rank);
}

}  // namespace

void HeldMeeting::leave() noexcept {
  if (meeting_ != nullptr) {
    run_->leave(std::move(meeting_));
  }
}

void HeldMeeting::leave_later() noexcept {
  if (meeting_ != nullptr) {
    run_->leave_later(std::move(meeting_));
  }
}

SharedRun::SharedRun(std::int64_t world_size, SharedRunOptions options)
    : world_size_(world_size),
      options_(options),
      shared_([&] {
        const BoardMemoryScope scope(&arena_);
        return new (arena_.allocate(sizeof(Shared))) Shared(world_size, options);
      }()),
      spins_(!options.order &&
             world_size <= static_cast<std::int64_t>(std::thread::hardware_concurrency())) {
  count_forks();
}

// The board goes with the arena.
SharedRun::~SharedRun() {
  for (std::shared_ptr<Meeting>& meeting : later_) {
    abandon(std::move(meeting));
  }
}

void SharedRun::begin(std::int64_t rank) {
  rank_ = rank;
  first_thread_ = std::this_thread::get_id();
  forks_at_begin_ = num_forks;
}

bool SharedRun::is_rank() const noexcept { return rank_ >= 0 && forks_at_begin_ == num_forks; }

std::optional<Fault> SharedRun::failure() const {
  const SharedFailure& failure = shared_->failure;
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
  SharedFailure& failure = shared_->failure;
  if (!failure.has_failed) {
    failure.kind = fault.kind;
    failure.num_bytes = std::min(fault.text.size(), SharedFailure::kMaxBytes);
    std::memcpy(failure.text.data(), fault.text.data(), failure.num_bytes);
    failure.has_failed = true;
  }
  for (const SharedSleeper& sleeper : shared_->sleepers) {
    if (DoneWord* const word = sleeper.word.load()) {
      word->stop();
      futex_wake_all(word->word());
    }
    if (QuickGroup* const group = sleeper.group.load()) {
      ++group->word;
      futex_wake_all(group->word);
    }
  }
  if (shared_->turns) {
    shared_->turns->stop();
  }
}

// Under the lock.
void SharedRun::fail_as_standstill(const Interrupt& interrupt) {
  move_all_to_board();
  const Fault fault = fault_of(explain_standstill(shared_->board));
  for (std::int64_t rank = 0; interrupt != nullptr && rank < world_size_; ++rank) {
    if (shared_->board.activity(rank).state == RankState::kRunning) {
      interrupt(rank);
    }
  }
  fail_all(fault);
}

void SharedRun::end() {
  const Lock lock(this);
  MatchBoard& board = shared_->board;
  for (const std::int64_t thread : board.threads_of(rank_)) {
    board.set_returned(thread);  // it ends with the process
  }
  board.set_returned(rank_);
  if (board.is_stuck()) {
    fail_as_standstill();
  }
  if (shared_->turns) {
    shared_->turns->leave(rank_);
  }
}

void SharedRun::end_failed(const std::string& failure) {
  const Lock lock(this);
  shared_->board.set_failed(rank_, failure);
  fail_all(fault_of(explain_failure(rank_, failure)));
}

void SharedRun::died(std::int64_t rank, const std::string& how) try {
  const Lock lock(this);
  MatchBoard& board = shared_->board;
  const RankState state = board.activity(rank).state;
  if (state == RankState::kReturned || state == RankState::kFailed) {
    return;
  }
  const std::string last = describe_last(shared_->last[static_cast<std::size_t>(rank)], rank);
  const std::string failure = last.empty()
                                  ? str_cat("died by ", how, " before its first launch")
                                  : str_cat("died by ", how, "; its last launch was ", last);
  fail_all(fault_of(explain_failure(rank, failure)));  // first: it needs nothing of the arena
  board.set_failed(rank, failure);
} catch (const Error&) {
  return;  // it died while it changed the board or the arena, which all have been told
}

void SharedRun::stop(const Fault& error) {
  const Lock lock(this);
  fail_all(error);
}

std::string SharedRun::activity() {
  const Lock lock(this);
  move_all_to_board();
  return describe_threads(shared_->board, "rank");
}

std::uint64_t SharedRun::num_waits() {
  const Lock lock(this);
  return shared_->num_waits;
}

void SharedRun::note(const std::string& line) {
  const Lock lock(this);
  shared_->notes[line].push_back(rank_);
}

std::string SharedRun::leftovers() {
  const Lock lock(this);
  move_all_to_board();
  return describe_leftovers(shared_->board, shared_->notes);
}

QuickGroup& SharedRun::join_group(const std::string& name,
                                  const std::vector<std::int64_t>& members) {
  const Lock lock(this);
  check_not_failed();
  const auto group = shared_->board.join_group(name, members);
  std::shared_ptr<QuickGroup>& quick = shared_->quick_groups[group.get()];
  if (quick == nullptr) {
    quick = make_board_shared<QuickGroup>(group);
  }
  return *quick;
}

SharedRun::Brought SharedRun::bring(const Launch& launch, const MakePayload& make_payload) {
  const ArenaBlock::Open block = ArenaBlock::make(&arena_);
  const BoardMemoryScope scope(block.get());
  return {.launch = launch, .payload = make_payload == nullptr ? nullptr : make_payload()};
}

HeldMeeting SharedRun::hold(std::shared_ptr<Meeting> meeting) {
  return {shared_from_this(), std::move(meeting)};
}

SharedArrival SharedRun::settle(std::shared_ptr<Meeting> meeting) {
  shared_->last[static_cast<std::size_t>(rank_)] = {.meeting = meeting};
  if (!meeting->is_complete()) {
    return {hold(std::move(meeting)), false};
  }
  if (const std::exception_ptr mismatch = explain_mismatch(*meeting)) {
    fail(meeting.get(), fault_of(mismatch));
    finish_locked(*meeting);
    wake(*meeting);
    std::rethrow_exception(mismatch);
  }
  return {hold(std::move(meeting)), true};
}

SharedArrival SharedRun::arrive(const std::shared_ptr<const MeetingGroup>& group,
                                const Launch& launch, const MakePayload& make_payload) {
  Brought own = bring(launch, make_payload);
  while (true) {
    {
      const Lock lock(this);
      check_not_failed();
      QuickGroup* const quick = quick_group(group);
      // Another thread of the rank may come when a quick meeting is being carried out.
      if (!quick->is_carried_out) {
        return settle(arrive_on_board(quick, std::move(own)));
      }
    }
    std::this_thread::yield();
  }
}

SharedArrival SharedRun::send(std::int64_t peer, std::int64_t tag,
                              const std::shared_ptr<const MeetingGroup>& group,
                              const Launch& launch, const MakePayload& make_payload) {
  Brought own = bring(launch, make_payload);
  const Lock lock(this);
  check_not_failed();
  return settle(
      shared_->board.send(rank_, peer, tag, group, std::move(own.launch), std::move(own.payload)));
}

SharedArrival SharedRun::receive(std::int64_t peer, std::int64_t tag,
                                 const std::shared_ptr<const MeetingGroup>& group,
                                 const Launch& launch, const MakePayload& make_payload) {
  Brought own = bring(launch, make_payload);
  const Lock lock(this);
  check_not_failed();
  return settle(shared_->board.receive(rank_, peer, tag, group, std::move(own.launch),
                                       std::move(own.payload)));
}

void SharedRun::access_store(const std::function<Events(std::shared_ptr<void>& store)>& access) {
  const Lock lock(this);
  check_not_failed();
  for (const auto& event : access(shared_->store)) {
    finish_locked(*event);
    wake(*event);
  }
}

void SharedRun::finish_locked(Meeting& meeting) {
  MatchBoard& board = shared_->board;
  std::ranges::sort(meeting.waiting);  // so that turns do not depend on who was there first
  for (const std::int64_t thread : meeting.waiting) {
    if (board.activity(thread).waits_for.get() == &meeting) {
      board.set_running(thread);
      if (shared_->turns) {
        shared_->turns->add(board.rank_of(thread));
      }
    }
  }
  meeting.is_done.set(DoneWord::kDone);
}

void SharedRun::finish(const HeldMeeting& meeting, std::shared_ptr<void> outcome) {
  {
    const Lock lock(this);
    if (outcome != nullptr) {  // else it was share()d, or there is none
      meeting->outcome = std::move(outcome);
    }
    finish_locked(*meeting);
  }
  // Without the lock, which is the first thing that who is woken wants.
  wake(*meeting);
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
  wake(*meeting);
}

// Under the lock, as the end of `meeting` is, whose owners other processes count.
void SharedRun::leave_locked(std::shared_ptr<Meeting>* meeting) noexcept {
  Meeting& left = **meeting;
  if (++left.num_left == static_cast<std::int64_t>(left.participants.size())) {
    left.payloads.clear();
    left.outcome.reset();
  }
  meeting->reset();
}

void SharedRun::leave(std::shared_ptr<Meeting> meeting) noexcept try {
  if (!is_rank()) {  // a fork of a rank has no share in anything
    abandon(std::move(meeting));
    return;
  }
  const Lock lock(this);
  leave_locked(&meeting);
} catch (const Error&) {  // the board is broken
  abandon(std::move(meeting));
}

void SharedRun::leave_later(std::shared_ptr<Meeting> meeting) noexcept {
  if (!is_rank()) {
    abandon(std::move(meeting));
    return;
  }
  const std::lock_guard lock(later_mutex_);
  later_.push_back(std::move(meeting));
}

// Under the lock.
void SharedRun::leave_those_left_for_later() noexcept {
  if (!is_rank()) {  // the launcher has none, and those that a fork of a rank has are the rank's
    return;
  }
  const std::lock_guard lock(later_mutex_);
  for (std::shared_ptr<Meeting>& meeting : later_) {
    leave_locked(&meeting);
  }
  later_.clear();
}

}  // namespace polyrank
