// What a run of processes shares, and the lock on it. For the sources of SharedRun alone.
#pragma once

#include <polyrank/core/str_cat.h>
#include <polyrank/matching/quick_group.h>
#include <polyrank/matching/shared_run.h>
#include <polyrank/matching/standstill.h>
#include <polyrank/shared_memory/robust_mutex.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace polyrank {

// What ranks are told once the run has failed. Of plain memory: it is to be readable when the board
// is not.
struct SharedFailure {
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 16;

  std::atomic<bool> has_failed = false;
  FaultKind kind = FaultKind::kError;
  std::size_t num_bytes = 0;
  std::array<char, kMaxBytes> text = {};
};

// A rank whose first thread sleeps says on what, so that it can be woken without the board.
struct SharedSleeper {
  std::atomic<DoneWord*> word = nullptr;
  std::atomic<QuickGroup*> group = nullptr;
};

// What a rank launched last: a meeting, or its part in a quick one.
struct LastLaunch {
  std::shared_ptr<const Meeting> meeting = {};
  const QuickPart* quick_part = nullptr;
  const QuickGroup* quick_group = nullptr;
};

struct SharedRun::Shared {
  Shared(std::int64_t world_size, const SharedRunOptions& options)
      : board(world_size),
        last(static_cast<std::size_t>(world_size)),
        sleepers(static_cast<std::size_t>(world_size)) {
    if (options.order) {
      turns.emplace(world_size, *options.order, options.seed);
    }
  }

  RobustMutex mutex;
  std::int64_t holder = -1;  // the rank that has the lock
  bool is_broken = false;    // one died while it had it
  SharedFailure failure;
  MatchBoard board;
  BoardList<LastLaunch> last;  // by rank
  BoardMap<const MeetingGroup*, std::shared_ptr<QuickGroup>> quick_groups;
  std::int64_t num_quick_waits = 0;  // ranks that wait in quick meetings
  RankNotes notes;
  BoardList<SharedSleeper> sleepers;  // by rank
  std::shared_ptr<void> store;
  std::uint64_t num_waits = 0;
  std::optional<SharedTurns> turns;  // else ranks run side by side
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
    run->leave_those_left_for_later();
  }
  ~Lock() { run_->shared_->mutex.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  SharedRun* run_;
  BoardMemoryScope scope_;
};

}  // namespace polyrank
