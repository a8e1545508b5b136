// The world whose ranks are threads of this process.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <polyrank/core/export.h>
#include <polyrank/matching/rank_turns.h>
#include <polyrank/world/launches_in_flight.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

// One rank of a world of threads: its turns, and what a process of its own would have for itself.
// PyTorch has one default generator a process, so each rank keeps the state of its own while others
// have the turn. What else a process has once is put in place by `on_turn`, which runs on the
// rank's thread whenever the turn has come to it, from begin() to end().
// It may also be a lockstep program, which acts for several ranks (a LocalTensorMode in a thread of
// a LocalRunnerMode).
//
// Thread rule: belongs to the rank's thread, but for stop() of its turns.
class POLYRANK_API RankThread : public std::enable_shared_from_this<RankThread> {
 public:
  // Requires: 0 <= rank < turns->world_size()
  RankThread(std::shared_ptr<RankTurns> turns, std::int64_t rank,
             std::function<void()> on_turn = nullptr);

  RankTurns& turns() const noexcept { return *turns_; }
  const std::shared_ptr<RankTurns>& turns_ptr() const noexcept { return turns_; }
  std::int64_t rank() const noexcept { return rank_; }
  LaunchesInFlight& in_flight() noexcept { return in_flight_; }

  // As RankTurns' functions of these names.
  void begin();
  void end();
  void end_failed(const std::string& failure);
  void wait(const std::shared_ptr<Meeting>& meeting);
  void wait_for(const std::shared_ptr<Meeting>& meeting, std::chrono::milliseconds timeout);
  void yield();
  void pause();
  void resume();

  // The rank that the calling thread runs; null outside of begin() to end().
  static RankThread* current() noexcept;
  // The calling thread is no rank any more: it was forked into a process where no other rank is.
  static void forget_current() noexcept;

 private:
  void keep_generator();
  void take_turn();
  void wait_for_turn(const std::function<void()>& wait);

  std::shared_ptr<RankTurns> turns_;
  std::int64_t rank_;
  std::function<void()> on_turn_;
  LaunchesInFlight in_flight_;
  std::shared_ptr<at::CPUGeneratorImpl> generator_;  // a copy, while others have the turn
};

// Pauses the calling thread's rank, if it runs one, for as long as the guard lives.
class POLYRANK_API RankPauseGuard {
 public:
  RankPauseGuard() : rank_(RankThread::current()) {
    if (rank_ != nullptr) {
      rank_->pause();
    }
  }
  ~RankPauseGuard() {
    if (rank_ != nullptr) {
      rank_->resume();
    }
  }
  RankPauseGuard(const RankPauseGuard&) = delete;
  RankPauseGuard& operator=(const RankPauseGuard&) = delete;

 private:
  RankThread* rank_;
};

}  // namespace polyrank
