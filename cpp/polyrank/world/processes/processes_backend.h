// The process group of a rank that is a process.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/recorded_work.h>
#include <polyrank/exchange/table_backend.h>
#include <polyrank/world/processes/rank_process.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

// Meets the other ranks in shared memory: the last member to launch carries the collective out, for
// all. A message is kept until it is received, so that sending never waits. See NOTE [Ranks that
// are processes] and NOTE [Results in the arena].
//
// Thread rule: any thread of the rank.
class POLYRANK_API ProcessesBackend final : public TableBackend {
 public:
  // The group `name` of these global ranks, in this order, as the rank sees it.
  // Throws: UsageError, CollectiveMismatchError as MatchBoard::join_group(); UsageError if the rank
  //         is not in the group.
  // `shown_as`: what profilers call the backend: the one that the program names.
  ProcessesBackend(std::shared_ptr<RankProcess> rank, const std::string& name,
                   const std::vector<std::int64_t>& members, std::string shown_as = "processes");

  const std::string getBackendName() const override { return "processes"; }
  bool supportsCoalescing() const override { return true; }
  bool supportsSplitting() const override { return true; }
  void startCoalescing() override { coalesced_.emplace(); }
  Work endCoalescing() override;

  void setSequenceNumberForGroup() override {}
  std::uint64_t getSequenceNumberForGroup() override { return sequence_number_; }
  c10::intrusive_ptr<c10d::Backend::Options> getBackendOptions() override;

  // As ThreadsBackend's functions of these names.
  c10::intrusive_ptr<c10d::Backend> split(
      const c10::intrusive_ptr<c10d::Store>& store, const std::vector<int>& ranks,
      const c10::intrusive_ptr<c10d::Backend::Options>& options) override;
  c10::intrusive_ptr<c10d::Backend> merge(const c10::intrusive_ptr<c10d::Store>& store,
                                          const c10::intrusive_ptr<c10d::Backend::Options>& options,
                                          const int& rank, const int& size) override;

  void abort() override { is_shut_down_ = true; }
  void shutdown() override { is_shut_down_ = true; }

 protected:
  Work launch(CollectiveCall call, c10d::OpType op_type) override;
  Work launch_message(CollectiveCall call, c10d::OpType op_type) override;

 private:
  template <class Come>
  Work come(CollectiveCall call, c10d::OpType op_type, std::size_t participant, bool waits,
            const Come& come);
  void carry_out(const HeldMeeting& meeting);
  std::int64_t global_rank_of(std::int64_t group_rank) const;
  void check_open(const CollectiveCall& call) const;
  LaunchId record(const CollectiveCall& call) const;

  std::shared_ptr<RankProcess> rank_;
  std::shared_ptr<const MeetingGroup> group_;  // a copy of this process
  std::shared_ptr<const LaunchGroup> launch_group_;
  std::string shown_as_;
  std::uint64_t sequence_number_ = 0;
  bool is_shut_down_ = false;
  std::optional<std::vector<Work>> coalesced_;  // works of a batch that has been started
};

// Waits for launches, and takes their results.
class POLYRANK_API ProcessesWork final : public RecordedWork {
 public:
  // `launches`: all that it waits for; none if it is complete.
  ProcessesWork(std::shared_ptr<RankProcess> rank, std::shared_ptr<const MeetingGroup> group,
                std::vector<RankProcess::Pending> launches, std::vector<at::Tensor> results,
                c10d::OpType op_type);

  bool isCompleted() override;
  bool isSuccess() const override;
  // Throws: what SharedRun::wait() throws.
  bool wait(std::chrono::milliseconds timeout) override;
  void synchronize() override { wait(kNoTimeout); }
  int sourceRank() const override;
  std::vector<at::Tensor> result() override { return results_; }

  // A future that is complete: waits first. Its value is the list of the tensors written.
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

  // Tells the rank's launches in flight when it is waited for.
  void add_in_flight(LaunchesInFlight::Id id) { in_flight_.push_back(id); }

  // Called when the program has waited for it.
  void at_end(std::function<void()> end_event) {
    recordFunctionEndCallback_ = std::move(end_event);
  }

  // Waits for what the other waits for, too, in its place.
  void take_over(ProcessesWork* part);

 private:
  void note_seen();

  std::shared_ptr<RankProcess> rank_;
  std::shared_ptr<const MeetingGroup> group_;
  std::vector<RankProcess::Pending> launches_;
  std::vector<at::Tensor> results_;
  std::vector<LaunchesInFlight::Id> in_flight_;
};

}  // namespace polyrank
