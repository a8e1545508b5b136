// A rank that is a process of its own.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/shared_run.h>
#include <polyrank/world/launches_in_flight.h>
#include <polyrank/world/processes/shared_outcome.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

// What a process asks of its interpreter, if it has one; null: nothing.
struct ProcessHooks {
  // Runs the handlers of signals that came. Throws: what they raise.
  void (*run_signal_handlers)() = nullptr;
  // Whether the process has threads that may launch, other than the calling one.
  bool (*has_other_threads)() = nullptr;
};
POLYRANK_API ProcessHooks& process_hooks() noexcept;

// Calls f without the interpreter's lock, if the calling thread has it.
void without_interpreter(const std::function<void()>& f);

// NOTE [Results in the arena]
// A rank can't write to another's tensors, so what a collective gives waits in shared memory until
// its rank takes it: when it waits for the Work or for one after it, asks whether it is complete
// and it is, or launches the next one after it is done. Before that the tensor is as it was. A
// launch whose tensors lie on those that a launch before it is still to write waits for that one
// first, so that launches see each other's results in their order.

// A launch, until its results are where they belong.
//
// Thread rule: any thread of the rank.
class PendingLaunch {
 public:
  PendingLaunch(HeldMeeting meeting, std::size_t participant, std::vector<CollectiveUnit> units)
      : meeting_(std::move(meeting)), participant_(participant), units_(std::move(units)) {}

  bool is_done() const;
  bool has_failed() const;
  bool is_message() const noexcept { return is_message_; }
  std::int64_t sender() const;
  // Whether it is still to write to one of these tensors.
  bool will_write(const std::vector<at::Tensor>& tensors) const;

  // Calls `wait` with the meeting and takes the results. Several threads may, at once.
  void settle(const std::function<void(const HeldMeeting&)>& wait);
  // Takes the results if it is done, has not failed, and nobody waits.
  // Returns: whether they are taken.
  bool settle_if_done();

 private:
  bool is_done_locked() const noexcept;
  bool has_failed_locked() const noexcept;
  void take_results();

  mutable std::mutex mutex_;
  HeldMeeting meeting_;  // until the results are taken and nobody waits
  int num_waiting_ = 0;
  std::size_t participant_;
  std::vector<CollectiveUnit> units_;  // until the results are taken
  bool is_small_ = false;              // what it brought, as is known once the results are taken
  bool is_message_ = meeting_.is_held() && meeting_->is_message;
  std::int64_t sender_ = Meeting::kAnyRank;
};

// Made by the launcher, before the ranks are forked; each has a copy then.
//
// Thread rule: any thread of the rank.
class POLYRANK_API RankProcess {
 public:
  explicit RankProcess(std::int64_t world_size, SharedRunOptions options = {})
      : run_(std::make_shared<SharedRun>(world_size, options)) {}

  SharedRun& run() noexcept { return *run_; }
  std::int64_t rank() const noexcept { return run_->rank(); }
  LaunchesInFlight& in_flight() noexcept { return in_flight_; }

  // Notes what is left to tell, and ends the rank.
  void end();

  // The launcher reads what the rank writes to these pipes: where ranks go one at a time, the turn
  // changes hands when it has, so that what they print lies in the order of their turns.
  void set_read_by_launcher(const std::vector<int>& files);

  // As SharedRun's, without the interpreter.
  void take_turn();
  void yield();
  void wait(const HeldMeeting& meeting, std::optional<std::chrono::milliseconds> timeout = {});

  // Keeps the launch until its results are taken.
  using Pending = std::shared_ptr<PendingLaunch>;
  void add(const Pending& launch);
  // Waits for it and takes its results, and those of whatever else is done. Throws: as
  // SharedRun::wait().
  void settle(const Pending& launch, std::optional<std::chrono::milliseconds> timeout = {});
  // Takes the results of what is done, and waits for collectives that write what `call` has.
  void settle_before(const CollectiveCall& call);

 private:
  std::vector<Pending> pending() const;
  void await_reader() const;
  void remove(const Pending& launch);

  std::shared_ptr<SharedRun> run_;
  LaunchesInFlight in_flight_;
  std::vector<std::pair<int, std::uint64_t>> read_by_launcher_;  // with their inodes
  mutable std::mutex mutex_;
  std::list<Pending> pending_;  // in the order of launching
};

}  // namespace polyrank
