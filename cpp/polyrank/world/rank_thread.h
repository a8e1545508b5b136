// The world whose ranks are threads of this process.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <polyrank/core/export.h>
#include <polyrank/matching/rank_turns.h>
#include <polyrank/world/launches_in_flight.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

namespace polyrank {

// One rank of a world of threads: its turns, and what a process of its own would have for itself.
// PyTorch has one default generator a process, and one number of threads that a thread takes over
// when it first computes, so each rank keeps its own while others have the turn. What else a
// process has once is put in place by `on_turn`, which runs on the rank's thread whenever the turn
// has come to it, from begin() to end(). A thread that the rank's program starts is a RankThread as
// well, with a turn of its own and all else in common with the rank's first (NOTE [Threads of a
// rank] in rank_turns.h). It may also be a lockstep program, which acts for several ranks (a
// LocalTensorMode in a thread of a LocalRunnerMode).
//
// Thread rule: belongs to its thread, but for stop() of its turns.
class POLYRANK_API RankThread : public std::enable_shared_from_this<RankThread> {
 public:
  // Requires: 0 <= rank < turns->world_size()
  RankThread(std::shared_ptr<RankTurns> turns, std::int64_t rank,
             std::function<void()> on_turn = nullptr);

  RankTurns& turns() const noexcept { return *turns_; }
  const std::shared_ptr<RankTurns>& turns_ptr() const noexcept { return turns_; }
  std::int64_t rank() const noexcept { return rank_->number; }
  std::int64_t thread() const noexcept { return thread_; }
  LaunchesInFlight& in_flight() noexcept { return rank_->in_flight; }

  // Another thread of this rank, which the rank's program is about to start.
  std::shared_ptr<RankThread> start_thread();
  // Whether both are threads of one rank in one run.
  bool is_of_rank(const RankThread& other) const noexcept { return rank_ == other.rank_; }

  // As RankTurns' functions of these names.
  void begin();
  void end();
  void end_failed(const std::string& failure);
  void end_threads();
  // It could not be started, as another thread says.
  void abandon();
  void wait(const std::shared_ptr<Meeting>& meeting);
  void wait_for(const std::shared_ptr<Meeting>& meeting, std::chrono::milliseconds timeout);
  void await_notice(const void* thing, const std::shared_ptr<Meeting>& notice,
                    std::optional<std::chrono::milliseconds> timeout);
  void yield();
  void pause();  // may be nested
  void resume();

  // Returns when the thread that began is over, its thread_locals included; at once if none began.
  void wait_for_exit() const;

  // The program asked for something that others may change, and got an answer that it may not want:
  // who asks the same `patience` times without having waited lets the others run.
  void asked(std::size_t question, int patience = 2) {
    if (is_asking_again(question, patience)) {
      yield();
    }
  }
  bool is_asking_again(std::size_t question, int patience);
  // Whether it takes turns now: not while it is paused or the turn changes hands.
  bool takes_turns() const noexcept { return num_absences_ == 0; }

  // The group that PyTorch's functional collectives find under that name. PyTorch has a list for
  // each thread, so the rank's threads are told of what one of them did.
  void register_group(const std::string& name, const c10::intrusive_ptr<c10d::ProcessGroup>& group);
  void unregister_group(const std::string& name);
  void unregister_groups();

  // The one that the calling thread is; null outside of begin() to end().
  static RankThread* current() noexcept;
  // The calling thread is no rank any more: it was forked into a process where no other rank is.
  static void forget_current() noexcept;

 private:
  // What the threads of a rank have in common.
  struct Rank {
    Rank(std::int64_t number, std::function<void()> on_turn,
         std::shared_ptr<at::CPUGeneratorImpl> generator)
        : number(number), on_turn(std::move(on_turn)), generator(std::move(generator)) {}

    std::int64_t number;
    std::function<void()> on_turn;
    std::shared_ptr<at::CPUGeneratorImpl> generator;  // a copy, while others have the turn
    int num_compute_threads = at::get_num_threads();
    LaunchesInFlight in_flight{};
    std::map<std::string, c10::intrusive_ptr<c10d::ProcessGroup>> groups{};  // as registered
    std::uint64_t groups_version = 0;
  };

  RankThread(std::shared_ptr<RankTurns> turns, std::shared_ptr<Rank> rank, std::int64_t thread)
      : turns_(std::move(turns)), rank_(std::move(rank)), thread_(thread) {}
  void keep_own();
  void take_turn();
  void take_over_groups();
  void wait_for_turn(const std::function<void()>& wait);

  std::shared_ptr<RankTurns> turns_;
  std::shared_ptr<Rank> rank_;
  std::int64_t thread_;
  std::map<std::string, c10::intrusive_ptr<c10d::ProcessGroup>> known_groups_;
  std::uint64_t known_version_ = 0;
  std::unordered_map<std::size_t, int> asked_;  // questions since it last got the turn
  int num_absences_ = 0;
  std::shared_future<void> exit_;
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
