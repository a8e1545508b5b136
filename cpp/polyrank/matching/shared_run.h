// A run whose ranks are processes: what they share, and how they wait for each other.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/fault.h>
#include <polyrank/matching/match_board.h>
#include <polyrank/matching/shared_turns.h>
#include <polyrank/shared_memory/arena.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace polyrank {

// NOTE [Ranks that are processes]
// The launcher makes a SharedRun and forks the ranks, which are then on their own: all of them run
// at once, and meet in the run's board. It is the board of rank threads, with the same words, but
// lies in a shared arena under one lock (NOTE [Memory of a board]). Whoever comes last to a meeting
// carries it out, without the lock, and wakes the others.
// A rank *waits* only in here, so the last one to wait or to end sees that nothing can happen any
// more, and everybody is told at once. A rank that sleeps or waits elsewhere runs, as far as the
// board knows; so does one that says that other threads of it may go on. The launcher looks at what
// threads of those sleep in, and says so where none of them can wake up: end_stillness().
// Any thread of a rank launches as the rank and waits by itself; the board counts those other than
// the first while they wait.
// A rank may die at any moment. What its memory held is lost with it, and nothing else: the
// launcher says who died(), and if it was while it changed the board, the next one to come sees
// that and the run ends without looking at the board again.

struct SharedRunOptions {
  std::optional<std::chrono::milliseconds> timeout = {};  // of every wait
  std::optional<TurnOrder> order = {};  // one rank goes at a time; else all at once
  std::uint64_t seed = 0;               // of the order
};

class SharedRun;
struct QuickGroup;
struct QuickPart;

// A meeting that the calling rank came to. Other processes count its owners, so it is let go under
// the board's lock.
class POLYRANK_API HeldMeeting {
 public:
  HeldMeeting() = default;
  HeldMeeting(std::shared_ptr<SharedRun> run, std::shared_ptr<Meeting> meeting)
      : run_(std::move(run)), meeting_(std::move(meeting)) {}
  ~HeldMeeting() { leave(); }
  HeldMeeting(HeldMeeting&& other) noexcept = default;
  HeldMeeting& operator=(HeldMeeting&&) = delete;
  HeldMeeting(const HeldMeeting&) = delete;
  HeldMeeting& operator=(const HeldMeeting&) = delete;

  Meeting& operator*() const noexcept { return *meeting_; }
  Meeting* operator->() const noexcept { return meeting_.get(); }
  bool is_held() const noexcept { return meeting_ != nullptr; }
  // Requires: the lock of the board
  const std::shared_ptr<Meeting>& pointer() const noexcept { return meeting_; }

  // The rank needs nothing of it any more. When all participants have left, what they brought is
  // freed.
  void leave() noexcept;
  // The same with the rank's next step on the board, which has its lock anyway; where what they
  // brought is small.
  void leave_later() noexcept;

 private:
  std::shared_ptr<SharedRun> run_;
  std::shared_ptr<Meeting> meeting_;
};

struct SharedArrival {
  HeldMeeting meeting;
  bool is_last = false;  // then the caller carries the meeting out and calls finish()
};

// Thread rule: any thread of the launcher and of the ranks; those functions that speak of "the
// rank" in a process between its begin() and its end().
class POLYRANK_API SharedRun : public std::enable_shared_from_this<SharedRun> {
 public:
  // Throws: UsageError if world_size < 1; Error if there is no memory to share.
  explicit SharedRun(std::int64_t world_size, SharedRunOptions options = {});
  ~SharedRun();
  SharedRun(const SharedRun&) = delete;
  SharedRun& operator=(const SharedRun&) = delete;

  std::int64_t world_size() const noexcept { return world_size_; }
  Arena& arena() noexcept { return arena_; }

  // The calling process is that rank; a fork of it is none.
  void begin(std::int64_t rank);
  std::int64_t rank() const noexcept { return rank_; }
  bool is_rank() const noexcept;

  // NOTE [Turns of processes], where the run has an order. Nothing happens in a process that is no
  // rank, nor in what throws when the run has failed.
  // Whether the rank need not wait for its turn.
  bool has_turn() const noexcept;
  bool is_ordered() const noexcept { return options_.order.has_value(); }
  // Waits for it. Throws: what `on_interrupt`, which is called when a signal came, throws.
  void take_turn(void (*on_interrupt)());
  // Lets the others that can go on go first.
  void yield(void (*on_interrupt)());
  // Of the launcher: see SharedTurns. A turn is there as long as the run has not failed.
  std::optional<SharedTurns::Turn> turn();
  // Requires: is_ordered()
  void end_turn(std::uint64_t number);

  // The rank's program is over: it returned, or it failed. Then the others are told, unless
  // something failed before.
  void end();
  void end_failed(const std::string& failure);

  // Of the launcher. A rank that died is named to the others with its last launch; nothing happens
  // if it had ended before. `how`: "signal 9 (SIGKILL)".
  void died(std::int64_t rank, const std::string& how);
  // Ends the run: every rank gets `error` from whatever it does next here.
  void stop(const Fault& error);
  // Where some threads wait, and the others may go on as far as the board knows.
  struct Stillness {
    std::uint64_t number = 0;  // another one if anybody has waited since
    // Those whose threads may: the first one is nowhere in here, or waits beside others. A rank may
    // be there more than once.
    std::vector<std::int64_t> ranks;
  };
  // Nothing where no thread waits, nobody may go on, or one does by itself when its time is up.
  std::optional<Stillness> stillness();
  // No thread will go on, as the caller knows: fails the run as a standstill, if it is still that.
  // `interrupt` is called before anybody is told, for each rank whose first thread sleeps elsewhere
  // than in here: the caller has it call raise_failure().
  using Interrupt = std::function<void(std::int64_t rank)>;
  void end_stillness(std::uint64_t number, const Interrupt& interrupt);
  // Throws: what end_stillness() fails the run with, if it called `interrupt` for the rank.
  void raise_failure();
  // What each rank does, as lines of text.
  std::string activity();
  // How often threads of ranks have waited in here: another number if anything went on since.
  std::uint64_t num_waits();
  // As RankTurns' functions of these names.
  void note(const std::string& line);
  std::string leftovers();
  // What ranks are told once the run has failed; nothing until then.
  std::optional<Fault> failure() const;
  // Throws: that, if the run has failed.
  void check_not_failed() const;

  // As MatchBoard's functions of these names, for the rank. What it brings is made within the
  // board's memory, without its lock; null: nothing. join_group() gives where the group's quick
  // meetings are.
  // Throws: what MatchBoard throws; CollectiveMismatchError if the launch completes a meeting whose
  //         launches do not belong together; once the run has failed, what the others are told.
  QuickGroup& join_group(const std::string& name, const std::vector<std::int64_t>& members);
  using MakePayload = std::function<std::shared_ptr<void>()>;
  SharedArrival arrive(const std::shared_ptr<const MeetingGroup>& group, const Launch& launch,
                       const MakePayload& make_payload);
  SharedArrival send(std::int64_t peer, std::int64_t tag,
                     const std::shared_ptr<const MeetingGroup>& group, const Launch& launch,
                     const MakePayload& make_payload);
  SharedArrival receive(std::int64_t peer, std::int64_t tag,
                        const std::shared_ptr<const MeetingGroup>& group, const Launch& launch,
                        const MakePayload& make_payload);

  // NOTE [Quick meetings], of the calling thread: not where the run has an order or a time-out, nor
  // for threads other than the rank's first.
  bool can_meet_quickly() const noexcept;
  // What a rank brings to a meeting, in a block of the arena of its own.
  struct Brought {
    Launch launch = {};
    std::shared_ptr<void> payload = {};
  };
  Brought bring(const Launch& launch, const MakePayload& make_payload);
  // How a quick meeting ended: with the group's result, or on the board, where the rank has come to
  // it and does not wait yet. `interrupt`: what `on_interrupt` threw; the launch stays.
  struct QuickEnd {
    std::optional<SharedArrival> arrival = {};
    std::exception_ptr interrupt = {};
  };
  // Comes to the group's next collective and waits for it. `fresh`: what the member's part does not
  // hold from the launch before. The last to come calls `carry_out`, which makes the group's result
  // of its parts, or gives false: then the board does.
  // Throws: as arrive() and wait().
  // Requires: can_meet_quickly(); no other thread of the rank may do what it waits for
  QuickEnd meet_quickly(QuickGroup& group, std::size_t member, std::optional<Brought> fresh,
                        const std::function<bool()>& carry_out, void (*on_interrupt)());
  // Frees what the member keeps there.
  void leave_group(QuickGroup& group, std::size_t member) noexcept;

  // Runs `access` under the board's lock, within the board's memory, on what a store keeps, which
  // is null at first. It gives the events that it brought about.
  using Events = std::vector<std::shared_ptr<Meeting>>;
  void access_store(const std::function<Events(std::shared_ptr<void>& store)>& access);
  // Takes a share in a meeting. Requires: within access_store()
  HeldMeeting hold(std::shared_ptr<Meeting> meeting);

  // The meeting was carried out, or failed: who waits for it can go on. `outcome` as a payload.
  void finish(const HeldMeeting& meeting, std::shared_ptr<void> outcome);
  // The same before it is carried out: who waits for it calls the `help` of its wait(), once.
  void share(const HeldMeeting& meeting, std::shared_ptr<void> outcome);
  void finish_failed(const HeldMeeting& meeting, const Fault& fault);

  struct WaitOptions {
    std::optional<std::chrono::milliseconds> timeout = {};
    // Whether other threads of the rank may do what it waits for: no standstill is seen then.
    bool may_go_on = false;
    void (*on_interrupt)() = nullptr;       // a signal came
    void (*help)(void* outcome) = nullptr;  // see share()
  };
  // Until the meeting is done.
  // Throws: the meeting's error; DeadlockError or CollectiveMismatchError if no rank can go on;
  //         CollectiveError if another rank has failed, or when time is up.
  void wait(const HeldMeeting& meeting, const WaitOptions& options);

 private:
  friend class HeldMeeting;
  struct Shared;
  class Lock;

  SharedArrival settle(std::shared_ptr<Meeting> meeting);
  void finish_locked(Meeting& meeting);
  std::optional<Stillness> stillness_locked() const;
  void fail_all(const Fault& fault);
  void fail_as_standstill(const Interrupt& interrupt = nullptr);
  // Of quick meetings.
  void count_quick_wait(QuickPart* part, bool waits);
  void move_to_board(QuickGroup* group);
  void move_all_to_board();
  void open_again(QuickGroup* group);
  QuickGroup* quick_group(const std::shared_ptr<const MeetingGroup>& group);
  std::shared_ptr<Meeting> arrive_on_board(QuickGroup* group, Brought own);
  QuickEnd end_quickly(QuickGroup* group, QuickPart* part, const std::function<bool()>& carry_out);
  QuickEnd sleep_quickly(QuickGroup* group, QuickPart* part, std::int64_t sequence,
                         void (*on_interrupt)());
  void withdraw(QuickGroup* group, QuickPart* part, std::int64_t sequence);
  SharedArrival arrival_of(QuickPart* part);
  std::optional<std::int64_t> set_waiting(const HeldMeeting& meeting, const WaitOptions& options);
  void set_running(std::int64_t thread);
  std::optional<std::chrono::milliseconds> timeout_of(const WaitOptions& options) const;
  void sleep(const HeldMeeting& meeting, const WaitOptions& options);
  void wait_as(std::int64_t thread, const HeldMeeting& meeting, const WaitOptions& options);
  void leave(std::shared_ptr<Meeting> meeting) noexcept;
  void leave_later(std::shared_ptr<Meeting> meeting) noexcept;
  static void leave_locked(std::shared_ptr<Meeting>* meeting) noexcept;
  void leave_those_left_for_later() noexcept;

  std::int64_t world_size_;
  SharedRunOptions options_;
  Arena arena_;
  Shared* shared_;  // in the arena
  std::int64_t rank_ = -1;
  std::thread::id first_thread_;  // the rank's
  std::uint64_t forks_at_begin_ = 0;
  bool spins_;  // each rank has a core
  std::mutex later_mutex_;
  std::vector<std::shared_ptr<Meeting>> later_;  // to be left with the next step on the board
};

}  // namespace polyrank
