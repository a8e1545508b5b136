// The threads of a world, one running at a time.
#pragma once

#include <polyrank/core/errors.h>
#include <polyrank/core/export.h>
#include <polyrank/matching/match_board.h>
#include <polyrank/matching/standstill.h>
#include <polyrank/matching/turn_queue.h>
#include <semaphore.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace polyrank {

// NOTE [One rank at a time]
// Each rank is a thread, and one of them has the *turn*; it keeps it until it waits for something
// that has not happened, and hands it to the next rank that can go on. Three things follow. A run
// is the same each time: who runs after whom does not depend on the machine. No threads fight for
// the interpreter's lock; what can use several cores are the kernels of the rank that runs. And
// that nothing can happen any more is seen the moment it is so: when the rank with the turn has to
// wait and no other can go on. A rank that sleeps, or waits for something outside of this process,
// pauses: it gives the turn away and is never counted as waiting.
//
// NOTE [Threads of a rank]
// A thread that a rank's program starts is the rank, too: it takes turns of its own, so that what
// holds for ranks holds for threads. Where one waits for another of its rank, or of any rank, by a
// lock (and so by all that Python builds of locks: events, conditions, queues, futures), it waits
// here, for a *notice* of that lock, which whoever releases it gives. Such a wait alone is no
// standstill, for a thread that is no rank's may release a lock; who watches the run decides that
// (end_standstill()). When a rank's program is over its threads end at whatever they do next here.

struct TurnOptions {
  TurnOrder order = TurnOrder::kFirstReady;
  std::uint64_t seed = 0;
  std::string noun = "rank";  // what the threads are called in errors
};

// What a launch came to.
struct Arrival {
  std::shared_ptr<Meeting> meeting;
  bool is_last = false;  // then the caller carries the meeting out and calls finish()
};

// What a thread gets whose rank's program is over.
class POLYRANK_API ThreadEnded : public CollectiveError {
 public:
  using CollectiveError::CollectiveError;
};

// Wakes the one thread that waits here, now or later. A semaphore of the system, because the turn
// changes hands at every collective: a condition variable hands a mutex over as well, which doubles
// the price, and std::binary_semaphore yields the processor several times before it sleeps.
//
// Thread rule: give() by any thread, the others by one. Ensures: (1) each give() ends one wait.
class POLYRANK_API TurnSignal {
 public:
  TurnSignal();
  ~TurnSignal();
  TurnSignal(const TurnSignal&) = delete;
  TurnSignal& operator=(const TurnSignal&) = delete;

  void give() noexcept;
  void await() noexcept;
  // False if time was up first.
  bool await_for(std::chrono::milliseconds timeout) noexcept;

 private:
  sem_t semaphore_{};
};

// Thread rule: each function is called by the thread that it names, which has the turn (begin() and
// resume(): which wants it), or by one of the rank that it names; stop(), finish(), notify() and
// what asks for the state by any thread. No lock of the caller's may be held in begin(), wait(),
// yield() and resume().
//
// Invariants: (1) at most one thread has the turn; (2) if nobody has it, all ranks have ended, or
// some threads are paused or wait for a notice.
class POLYRANK_API RankTurns {
 public:
  // Rank 0 has the first turn, the others follow in order.
  explicit RankTurns(std::int64_t world_size, TurnOptions options = {});

  std::int64_t world_size() const noexcept { return board_.world_size(); }

  // A thread that the rank's program starts; it calls begin() and end().
  std::int64_t add_thread(std::int64_t rank);
  // How many threads the rank's program has started that have not ended.
  std::size_t num_threads(std::int64_t rank) const;

  // Waits for the thread's first turn.
  // Throws: what stop() was given, if it came first.
  void begin(std::int64_t thread);
  // The thread is over: its program returned, or, if it is a rank's first, failed. Then the others
  // are woken with an error that names the failure, unless a failure came before.
  void end(std::int64_t thread);
  void end_failed(std::int64_t rank, const std::string& failure);
  // The rank's program is over: the threads that it has started get ThreadEnded from whatever they
  // do next here. Returns when none of them can go on but those that are paused.
  void end_threads(std::int64_t rank);

  // As MatchBoard's functions of these names.
  // Throws: what MatchBoard throws; CollectiveMismatchError if the launch completes a meeting whose
  //         launches do not belong together; once the run has failed, what the others are told.
  std::shared_ptr<const MeetingGroup> join_group(const std::string& name,
                                                 const std::vector<std::int64_t>& members);
  Arrival arrive(std::int64_t rank, const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                 std::shared_ptr<void> payload);
  Arrival send(std::int64_t rank, std::int64_t peer, std::int64_t tag,
               const std::shared_ptr<const MeetingGroup>& group, Launch launch,
               std::shared_ptr<void> payload);
  Arrival receive(std::int64_t rank, std::int64_t peer, std::int64_t tag,
                  const std::shared_ptr<const MeetingGroup>& group, Launch launch,
                  std::shared_ptr<void> payload);

  // The meeting was carried out (an event: it happened), or failed with `error`: who waits for it
  // can go on.
  void finish(const std::shared_ptr<Meeting>& meeting, std::exception_ptr error = nullptr);

  // Gives the turn away until the meeting is done.
  // Throws: the meeting's error; DeadlockError or CollectiveMismatchError if no rank can go on;
  //         CollectiveError if another rank has failed.
  void wait(std::int64_t thread, const std::shared_ptr<Meeting>& meeting);
  // The same, for no longer than `timeout`. Until then the rank may go on by itself, so that others
  // who wait with it are not at a standstill.
  // Throws: CollectiveError when time is up, which leaves the meeting as it is.
  void wait_for(std::int64_t thread, const std::shared_ptr<Meeting>& meeting,
                std::chrono::milliseconds timeout);
  bool is_done(const Meeting& meeting) const;

  // A wait of `thread` for the next notify(thing), to be passed to await_notice(); other arguments
  // as of new_event(). Two steps, so that what lies between no notice and the wait can be the
  // caller's to keep others out of.
  std::shared_ptr<Meeting> expect_notice(std::int64_t thread, const void* thing,
                                         const std::string& event, const std::string& where);
  // Gives the turn away until then, or until time is up. The caller looks again in both cases.
  // Throws: as wait(). A thread that a rank has started goes on waiting when the run has failed.
  void await_notice(std::int64_t thread, const void* thing, const std::shared_ptr<Meeting>& notice,
                    std::optional<std::chrono::milliseconds> timeout);
  void notify(const void* thing) noexcept;

  // Lets the others that can go on run first. For who asks again and again.
  void yield(std::int64_t thread);

  // Gives the turn away while the thread waits for something outside; resume() takes it back.
  void pause(std::int64_t thread);
  void resume(std::int64_t thread);

  // Ends the run: every rank gets `error` from whatever it does next here.
  void stop(const std::exception_ptr& error);

  // Changes while the run goes on: counts launches, messages, and threads' starts and ends.
  std::uint64_t num_events() const;
  // Where nobody can go on unless a thread that is no rank's gives a notice: lets who waits for one
  // look again, and if that has been tried since the last event and `may_fail`, fails the run as a
  // standstill.
  void end_standstill(bool may_fail);
  // What each thread does, as lines of text. `places`: where those are that do not wait.
  std::string describe(const std::map<std::int64_t, std::string>& places) const;
  // Whether another thread of the rank waits in a collective of the group.
  bool is_launching(std::int64_t rank, std::int64_t thread, const MeetingGroup& group) const;

  // A line of text that leftovers() is to tell of the rank, too.
  void note(std::int64_t rank, const std::string& line);

  // Messages that nobody received and collectives that some members never came to, as lines of
  // text, and what was noted of ranks; empty if all went well. To be asked when all ranks have
  // ended.
  std::string leftovers() const;

 private:
  using Lock = std::unique_lock<std::mutex>;

  struct Wait {
    std::optional<std::chrono::milliseconds> timeout{};
    bool is_for_notice = false;
  };

  // Requires: the lock. The signal stays where it is.
  TurnSignal& signal(std::int64_t thread) { return signals_[static_cast<std::size_t>(thread)]; }
  Arrival settle(std::shared_ptr<Meeting> meeting);
  void make_ready(std::int64_t thread);
  void finish_locked(Meeting* meeting, std::exception_ptr error);
  std::optional<std::int64_t> choose_next();
  void pass_turn(Lock* lock);
  void pass_if_nobody_has_it(Lock* lock);
  void await_again(std::int64_t thread, Lock* lock);
  bool await_turn(std::int64_t thread, const std::shared_ptr<Meeting>& meeting,
                  std::optional<std::chrono::milliseconds> timeout, Lock* lock);
  bool wait_up_to(std::int64_t thread, const std::shared_ptr<Meeting>& meeting, const Wait& wait,
                  Lock* lock);
  bool is_waiting_for_notice(std::int64_t thread) const;
  bool is_started(std::int64_t thread) const noexcept { return thread >= world_size(); }
  bool waits_for_notices_alone() const;
  void fail_all(const std::exception_ptr& error);
  void check_not_failed() const;
  void check_may_go_on(std::int64_t thread) const;

  mutable std::mutex mutex_;
  MatchBoard board_;
  std::deque<TurnSignal> signals_;  // by thread: its turn has come
  TurnQueue queue_;
  std::set<std::int64_t> paused_;
  std::set<std::int64_t> ended_;  // threads whose rank's program is over
  std::unordered_map<const void*, std::vector<std::shared_ptr<Meeting>>> notices_;
  std::atomic<std::size_t> num_notices_{0};
  std::uint64_t num_events_ = 0;
  std::optional<std::uint64_t> num_events_when_looked_;
  TurnOptions options_;
  RankNotes notes_;
  std::exception_ptr failure_;  // what ranks are told once the run has failed
};

// Pauses a rank for as long as the guard lives.
class POLYRANK_API PauseGuard {
 public:
  PauseGuard(RankTurns& turns, std::int64_t rank) : turns_(turns), rank_(rank) {
    turns_.pause(rank_);
  }
  ~PauseGuard() { turns_.resume(rank_); }
  PauseGuard(const PauseGuard&) = delete;
  PauseGuard& operator=(const PauseGuard&) = delete;

 private:
  RankTurns& turns_;
  std::int64_t rank_;
};

}  // namespace polyrank
