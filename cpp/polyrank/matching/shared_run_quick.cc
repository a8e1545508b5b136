// How ranks meet without the board: see NOTE [Quick meetings].
#include <polyrank/core/errors.h>
#include <polyrank/matching/agreement.h>
#include <polyrank/matching/shared_run_state.h>
#include <polyrank/shared_memory/futex.h>

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

// Handlers of signals run between two sleeps even if the signal came just before the first one.
constexpr std::chrono::milliseconds kLongestSleep{1000};
constexpr int kSpins = 2000;

void wake(QuickGroup* group) {
  ++group->word;
  futex_wake_all(group->word);
}

// While this is there the rank sleeps on the group's word.
class AsleepInGroup {
 public:
  AsleepInGroup(SharedSleeper* sleeper, QuickGroup* group) : sleeper_(sleeper) {
    sleeper_->group = group;
  }
  ~AsleepInGroup() { sleeper_->group = nullptr; }
  AsleepInGroup(const AsleepInGroup&) = delete;
  AsleepInGroup& operator=(const AsleepInGroup&) = delete;

 private:
  SharedSleeper* sleeper_;
};

// Whether what the members say belongs together. What all said before is not looked at again.
// Requires: all have come
bool do_agree(QuickGroup* group) {
  if (group->num_agreed == group->num_changes) {
    return true;
  }
  std::vector<RankLaunch> launches;
  launches.reserve(group->parts.size());
  for (std::size_t member = 0; member < group->parts.size(); ++member) {
    launches.push_back({group->group->members[member], &group->parts[member].launch.value()});
  }
  if (disagreement(launches, static_cast<std::int64_t>(launches.size()))) {
    return false;
  }
  group->num_agreed = group->num_changes;
  return true;
}

}  // namespace

bool SharedRun::can_meet_quickly() const noexcept {
  return !options_.order && !options_.timeout && std::this_thread::get_id() == first_thread_;
}

// Under the lock.
void SharedRun::count_quick_wait(QuickPart* part, bool waits) {
  if (part->is_counted != waits) {
    const std::int64_t change = waits ? 1 : -1;
    part->is_counted = waits;
    shared_->num_quick_waits += change;
    shared_->board.count_waiting(change);
  }
}

// Under the lock. The members that have come go on on the board, which counts the group's launches
// from now on.
// Requires: the group is open; nobody carries the meeting out
void SharedRun::move_to_board(QuickGroup* group) {
  MatchBoard& board = shared_->board;
  board.set_level(*group->group, group->sequence);
  group->is_open = false;
  for (std::size_t member = 0; member < group->parts.size(); ++member) {
    QuickPart& part = group->parts[member];
    if (!group->has_come(part)) {
      continue;
    }
    const std::int64_t rank = group->group->members[member];
    part.moved_to =
        board.arrive(rank, group->group, std::move(part.launch.value()), std::move(part.payload));
    part.launch.reset();
    shared_->last[static_cast<std::size_t>(rank)] = {.meeting = part.moved_to};
    if (part.is_counted) {
      count_quick_wait(&part, false);
      part.moved_to->waiting.push_back(rank);
      board.set_waiting(rank, part.moved_to);
    }
    part.was_moved = true;
  }
  if (std::exchange(group->num_arrived, 0) > 0) {
    wake(group);
  }
  open_again(group);
}

// Under the lock. All meetings that somebody has come to, so that the board knows all there is.
// Those that are carried out are over in a moment.
void SharedRun::move_all_to_board() {
  for (const auto& [key, group] : shared_->quick_groups) {
    if (group->is_open && group->num_arrived > 0 && !group->is_carried_out) {
      move_to_board(group.get());
    }
  }
}

// Under the lock. If all the group's launches have met.
void SharedRun::open_again(QuickGroup* group) {
  if (const std::optional<std::int64_t> level = shared_->board.level(*group->group)) {
    group->sequence = *level;
    group->is_open = true;
  }
}

// Under the lock.
QuickGroup* SharedRun::quick_group(const std::shared_ptr<const MeetingGroup>& group) {
  return shared_->quick_groups.at(shared_->board.known(*group).get()).get();
}

// Under the lock: to a launch that is not quick.
// Requires: nobody carries a quick meeting of the group out
std::shared_ptr<Meeting> SharedRun::arrive_on_board(QuickGroup* group, Brought own) {
  if (group->is_open) {
    move_to_board(group);
    group->is_open = false;
  }
  auto meeting =
      shared_->board.arrive(rank_, group->group, std::move(own.launch), std::move(own.payload));
  open_again(group);
  return meeting;
}

SharedRun::QuickEnd SharedRun::meet_quickly(QuickGroup& group, std::size_t member,
                                            std::optional<Brought> fresh,
                                            const std::function<bool()>& carry_out,
                                            void (*on_interrupt)()) {
  QuickPart& part = group.parts[member];
  std::int64_t sequence = 0;
  bool is_last = false;
  {
    const Lock lock(this);
    check_not_failed();
    if (fresh) {
      part.launch = std::move(fresh->launch);
      part.payload = std::move(fresh->payload);
      ++group.num_changes;
    }
    if (!group.is_open) {
      Brought own{.launch = std::move(part.launch.value()), .payload = std::move(part.payload)};
      part.launch.reset();
      return {.arrival = settle(arrive_on_board(&group, std::move(own)))};
    }
    part.sequence = sequence = group.sequence;
    part.is_counted = false;  // what it may say of the launch before
    shared_->last[static_cast<std::size_t>(rank_)] = {.quick_part = &part, .quick_group = &group};
    is_last = ++group.num_arrived == group.parts.size();
    group.is_carried_out = is_last;
    if (!is_last) {
      count_quick_wait(&part, true);
      ++shared_->num_waits;
      if (shared_->board.is_stuck()) {
        fail_as_standstill();
      }
    }
  }
  return is_last ? end_quickly(&group, &part, carry_out)
                 : sleep_quickly(&group, &part, sequence, on_interrupt);
}

// What the last member to come does.
SharedRun::QuickEnd SharedRun::end_quickly(QuickGroup* group, QuickPart* part,
                                           const std::function<bool()>& carry_out) {
  const bool is_done = do_agree(group) && carry_out();
  {
    const Lock lock(this);
    group->is_carried_out = false;
    if (!is_done) {  // as the board says it
      move_to_board(group);
      part->was_moved = false;
      return {.arrival = settle(std::move(part->moved_to))};
    }
    const auto num_waiting = static_cast<std::int64_t>(group->num_arrived) - 1;
    shared_->num_quick_waits -= num_waiting;
    shared_->board.count_waiting(-num_waiting);
    group->num_arrived = 0;
    ++group->sequence;
    ++group->word;
  }
  // Without the lock, which is the first thing that who is woken wants.
  futex_wake_all(group->word);
  return {};
}

// What the others do: until the meeting is done or was moved.
SharedRun::QuickEnd SharedRun::sleep_quickly(QuickGroup* group, QuickPart* part,
                                             std::int64_t sequence, void (*on_interrupt)()) {
  const AsleepInGroup asleep(&shared_->sleepers[static_cast<std::size_t>(rank_)], group);
  const auto is_over = [&] { return group->sequence > sequence || part->was_moved; };
  std::exception_ptr interrupt;
  for (int spin = 0; spins_ && spin < kSpins && !is_over(); ++spin) {
    __builtin_ia32_pause();
  }
  while (true) {
    const std::uint32_t word = group->word;
    if (is_over()) {
      break;
    }
    if (shared_->failure.has_failed) {
      if (interrupt != nullptr) {
        std::rethrow_exception(interrupt);
      }
      check_not_failed();
    }
    const FutexResult result = futex_wait(group->word, word, kLongestSleep);
    if (result != FutexResult::kWoken && on_interrupt != nullptr && interrupt == nullptr) {
      try {
        on_interrupt();
      } catch (...) {
        interrupt = std::current_exception();
        withdraw(group, part, sequence);
      }
    }
  }
  // In this order: a meeting that was moved may be over, too.
  return part->was_moved ? QuickEnd{.arrival = arrival_of(part), .interrupt = interrupt}
                         : QuickEnd{.interrupt = interrupt};
}

// The rank waits no more. Its launch stays, on the board.
void SharedRun::withdraw(QuickGroup* group, QuickPart* part, std::int64_t sequence) {
  const Lock lock(this);
  if (group->sequence == sequence && group->has_come(*part) && !group->is_carried_out) {
    count_quick_wait(part, false);
    move_to_board(group);
  }
}

// Where the rank's meeting was moved to. It runs until it waits there.
SharedArrival SharedRun::arrival_of(QuickPart* part) {
  const Lock lock(this);
  part->was_moved = false;
  std::shared_ptr<Meeting> meeting = std::move(part->moved_to);
  if (shared_->board.activity(rank_).waits_for == meeting) {
    shared_->board.set_running(rank_);
  }
  return {.meeting = hold(std::move(meeting))};
}

// What a member keeps in its part goes.
void SharedRun::leave_group(QuickGroup& group, std::size_t member) noexcept try {
  if (is_rank() && !shared_->failure.has_failed) {
    const Lock lock(this);
    QuickPart& part = group.parts[member];
    if (!group.has_come(part)) {
      part.launch.reset();
      part.payload.reset();
    }
  }
} catch (const Error&) {  // the board is broken
  return;
}

}  // namespace polyrank
