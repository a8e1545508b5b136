// The world whose ranks are threads of this process.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <polyrank/core/export.h>
#include <polyrank/matching/rank_turns.h>
#include <polyrank/world/point_to_point.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <utility>
#include <vector>

namespace polyrank {

// One rank of a world of threads: its turns, and what a process of its own would have for itself.
// PyTorch has one default generator a process, so each rank keeps the state of its own while others
// have the turn.
// It may also be a lockstep program, which acts for several ranks (a LocalTensorMode in a thread of
// a LocalRunnerMode). Such threads share a mailbox, so that lockstep sends of one reach another.
//
// Thread rule: belongs to the rank's thread, but for stop() of its turns.
class POLYRANK_API RankThread {
 public:
  // Requires: 0 <= rank < turns->world_size()
  RankThread(std::shared_ptr<RankTurns> turns, std::int64_t rank,
             std::shared_ptr<Mailbox> shared_mailbox = nullptr);

  RankTurns& turns() const noexcept { return *turns_; }
  const std::shared_ptr<RankTurns>& turns_ptr() const noexcept { return turns_; }
  std::int64_t rank() const noexcept { return rank_; }
  Mailbox* shared_mailbox() const noexcept { return shared_mailbox_.get(); }

  // As RankTurns' functions of these names.
  void begin();
  void end();
  void end_failed(const std::string& failure);
  void wait(const std::shared_ptr<Meeting>& meeting);
  void yield();
  void pause();
  void resume();

  // The rank that the calling thread runs; null outside of begin() to end().
  static RankThread* current() noexcept;

 private:
  void keep_generator();
  void restore_generator();

  std::shared_ptr<RankTurns> turns_;
  std::int64_t rank_;
  std::shared_ptr<Mailbox> shared_mailbox_;
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

// A store that all ranks share. Whoever waits for a key lets the others run meanwhile.
class POLYRANK_API RankStore final : public c10d::HashStore {
 public:
  std::vector<std::uint8_t> get(const std::string& key) override;
  void wait(const std::vector<std::string>& keys) override;
  void wait(const std::vector<std::string>& keys,
            const std::chrono::milliseconds& timeout) override;
};

}  // namespace polyrank
