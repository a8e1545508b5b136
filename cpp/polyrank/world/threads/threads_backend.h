// The process group of a rank that is a thread.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/recorded_work.h>
#include <polyrank/exchange/table_backend.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/rank_thread.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace polyrank {

// Meets the other ranks in memory: the last member to launch carries the collective out, for all.
// A message is kept until it is received, so that sending never waits.
//
// Thread rule: belongs to its rank's threads, of which one runs at a time.
class POLYRANK_API ThreadsBackend final : public TableBackend {
 public:
  // The group `name` of these global ranks, in this order, as `rank` sees it.
  // Throws: UsageError, CollectiveMismatchError as MatchBoard::join_group(); UsageError if the rank
  //         is not in the group.
  ThreadsBackend(std::shared_ptr<RankThread> rank, const std::string& name,
                 const std::vector<std::int64_t>& members);

  const std::string getBackendName() const override { return "threads"; }
  bool supportsCoalescing() const override { return true; }
  bool supportsSplitting() const override { return true; }
  void startCoalescing() override { coalesced_.emplace(); }
  Work endCoalescing() override;

  void setSequenceNumberForGroup() override {}
  std::uint64_t getSequenceNumberForGroup() override { return sequence_number_; }
  // Say nothing: there are no time-outs.
  c10::intrusive_ptr<c10d::Backend::Options> getBackendOptions() override;

  // A group of these group ranks, in this order, under the options' group_name; each makes it. Null
  // if this rank is not among them. Throws: CollectiveError if one is not of this group; as the
  // constructor.
  c10::intrusive_ptr<c10d::Backend> split(
      const c10::intrusive_ptr<c10d::Store>& store, const std::vector<int>& ranks,
      const c10::intrusive_ptr<c10d::Backend::Options>& options) override;
  // The group of `size` ranks that meet in `store`, each under a `rank` of its own.
  c10::intrusive_ptr<c10d::Backend> merge(const c10::intrusive_ptr<c10d::Store>& store,
                                          const c10::intrusive_ptr<c10d::Backend::Options>& options,
                                          const int& rank, const int& size) override;

  void abort() override { is_shut_down_ = true; }
  void shutdown() override { is_shut_down_ = true; }

 protected:
  Work launch(CollectiveCall call, c10d::OpType op_type) override;
  Work launch_message(CollectiveCall call, c10d::OpType op_type) override;

 private:
  // What becomes of a launch after the rank has come to its meeting.
  struct AfterLaunch {
    std::vector<at::Tensor> results;
    std::optional<std::vector<at::Tensor>> in_flight;  // its tensors, if it is asynchronous
    CollectiveLaunch record;  // kept when it has run, as far as it runs here
    bool waits = true;        // whether its Work waits for the meeting
  };

  AfterLaunch begin_launch(const CollectiveCall& call);
  bool note_thread(const Launch& launch);
  Work settle(Arrival arrival, AfterLaunch after, c10d::OpType op_type);
  std::int64_t global_rank_of(std::int64_t group_rank) const;
  void check_open(const CollectiveCall& call) const;
  CollectiveLaunch describe(const CollectiveCall& call);

  std::shared_ptr<RankThread> rank_;
  std::shared_ptr<const MeetingGroup> group_;
  std::shared_ptr<const LaunchGroup> launch_group_;
  std::uint64_t sequence_number_ = 0;        // of collectives
  std::int64_t num_launches_ = 0;            // messages included
  std::optional<std::int64_t> last_thread_;  // of the rank that has launched a collective
  bool has_several_threads_ = false;
  bool is_shut_down_ = false;
  std::optional<std::vector<Work>> coalesced_;  // works of a batch that has been started
};

// Waits for meetings, and lets other ranks run meanwhile.
class POLYRANK_API ThreadsWork final : public RecordedWork {
 public:
  // `meetings`: all that it waits for; none if it is complete.
  ThreadsWork(std::shared_ptr<RankThread> rank, std::vector<std::shared_ptr<Meeting>> meetings,
              std::vector<at::Tensor> results, c10d::OpType op_type);

  // Asked for again and again, lets the others run.
  bool isCompleted() override;
  bool isSuccess() const override;
  // Throws: what RankTurns::wait() throws.
  bool wait(std::chrono::milliseconds timeout) override;
  void synchronize() override { wait(kNoTimeout); }
  int sourceRank() const override;
  std::vector<at::Tensor> result() override { return results_; }

  // A future that is complete: waits first. Its value is the list of the tensors written.
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

  // Tells the rank's launches in flight when it is waited for.
  void add_in_flight(LaunchesInFlight::Id id) { in_flight_.push_back(id); }

  // Waits for what the other waits for, too, in its place.
  void take_over(ThreadsWork* part);

 private:
  void note_seen();
  RankThread& caller() const;

  std::shared_ptr<RankThread> rank_;
  std::vector<std::shared_ptr<Meeting>> meetings_;
  std::vector<at::Tensor> results_;
  std::vector<LaunchesInFlight::Id> in_flight_;
};

}  // namespace polyrank
