// Lets the next rank go where the process that has the turn blocks elsewhere.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/shared_run.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace polyrank {

// Ranks that go one at a time hand the turn on by themselves where they wait for each other. In a
// lock, a socket, a sleep they don't: the launcher sees from outside that such a process sleeps.
//
// Thread rule: one thread of the launcher.
class POLYRANK_API TurnWatch {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kLookEvery{10};

  // `processes`: by rank. `longest`: how long a rank may have the turn without a sleep while others
  // could go on. Requires: the run has an order
  TurnWatch(std::shared_ptr<SharedRun> run, std::vector<pid_t> processes,
            std::chrono::milliseconds longest = std::chrono::seconds(10));

  // To be called every kLookEvery; more often does no harm.
  // Returns: a line for the user, if a rank has had the turn for too long.
  std::optional<std::string> look(Clock::time_point now = Clock::now());

 private:
  std::shared_ptr<SharedRun> run_;
  std::vector<pid_t> processes_;
  std::chrono::milliseconds longest_;
  std::optional<std::uint64_t> number_;  // of the turn that is looked at
  Clock::time_point since_ = {};
  Clock::time_point looked_ = {};
  int num_asleep_ = 0;  // looks, one after the other, that found it asleep
};

}  // namespace polyrank
