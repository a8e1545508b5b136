// The threads of a world, one running at a time.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/match_board.h>
#include <semaphore.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
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

enum class TurnOrder : std::uint8_t {
  kFirstReady,  // who could go on first
  kRandom       // any of those who could, drawn from the seed
};

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

// Thread rule: each function is called by the thread of the rank that it names, which has the turn
// (begin() and resume(): which wants it); stop() by any thread. No lock of the caller's may be held
// in begin(), wait(), yield() and resume().
//
// Invariants: (1) at most one rank has the turn; (2) if nobody has it, all ranks have ended, or
// some are paused.
class POLYRANK_API RankTurns {
 public:
  // Rank 0 has the first turn, the others follow in order.
  explicit RankTurns(std::int64_t world_size, TurnOptions options = {});

  std::int64_t world_size() const noexcept { return static_cast<std::int64_t>(signals_.size()); }

  // Waits for the rank's first turn.
  // Throws: what stop() was given, if it came first.
  void begin(std::int64_t rank);
  // The rank's program is over: it returned, or it failed. Then the others are woken with an error
  // that names the failure, unless a failure came before.
  void end(std::int64_t rank);
  void end_failed(std::int64_t rank, const std::string& failure);

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

  // What `rank` wait()s for that is no launch, until another rank says by finish() that it
  // happened. `event` reads on from "waits for": "key "x" in the store"; `where` is the line that
  // waits.
  static std::shared_ptr<Meeting> expect(std::int64_t rank, std::string event, std::string where);

  // The meeting was carried out, or failed with `error`: who waits for it can go on.
  void finish(const std::shared_ptr<Meeting>& meeting, std::exception_ptr error = nullptr);

  // Gives the turn away until the meeting is done.
  // Throws: the meeting's error; DeadlockError or CollectiveMismatchError if no rank can go on;
  //         CollectiveError if another rank has failed.
  void wait(std::int64_t rank, const std::shared_ptr<Meeting>& meeting);
  // The same, for no longer than `timeout`. Until then the rank may go on by itself, so that others
  // who wait with it are not at a standstill.
  // Throws: CollectiveError when time is up, which leaves the meeting as it is.
  void wait_for(std::int64_t rank, const std::shared_ptr<Meeting>& meeting,
                std::chrono::milliseconds timeout);
  bool is_done(const Meeting& meeting) const;

  // Lets the other ranks that can go on run first. For ranks that ask again and again.
  void yield(std::int64_t rank);

  // Gives the turn away while the rank waits for something outside; resume() takes it back.
  void pause(std::int64_t rank);
  void resume(std::int64_t rank);

  // Ends the run: every rank gets `error` from whatever it does next here.
  void stop(const std::exception_ptr& error);

  // A line of text that leftovers() is to tell of the rank, too.
  void note(std::int64_t rank, const std::string& line);

  // Messages that nobody received and collectives that some members never came to, as lines of
  // text, and what was noted of ranks; empty if all went well. To be asked when all ranks have
  // ended.
  std::string leftovers() const;

 private:
  using Lock = std::unique_lock<std::mutex>;

  TurnSignal& signal(std::int64_t rank) { return signals_[static_cast<std::size_t>(rank)]; }
  Arrival settle(std::shared_ptr<Meeting> meeting);
  void make_ready(std::int64_t rank);
  void finish_locked(Meeting* meeting, std::exception_ptr error);
  std::optional<std::int64_t> choose_next();
  void pass_turn(Lock* lock);
  bool await_turn(std::int64_t rank, const std::shared_ptr<Meeting>& meeting,
                  std::optional<std::chrono::milliseconds> timeout, Lock* lock);
  void wait_up_to(std::int64_t rank, const std::shared_ptr<Meeting>& meeting,
                  std::optional<std::chrono::milliseconds> timeout);
  void fail_all(const std::exception_ptr& error);
  void check_not_failed() const;

  mutable std::mutex mutex_;
  MatchBoard board_;
  std::deque<TurnSignal> signals_;  // by rank: its turn has come
  std::deque<std::int64_t> ready_;  // who can go on and does not have the turn
  bool is_turn_taken_ = true;
  TurnOptions options_;
  std::mt19937_64 random_;
  std::map<std::string, std::vector<std::int64_t>> notes_;  // by line, of which ranks
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
