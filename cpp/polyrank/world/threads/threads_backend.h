// The process group of a rank that is a thread.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/rank_backend.h>
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
class POLYRANK_API ThreadsBackend final : public RankBackend {
 public:
  // The group `name` of these global ranks, in this order, as `rank` sees it.
  // Throws: UsageError, CollectiveMismatchError as MatchBoard::join_group(); UsageError if the rank
  //         is not in the group.
  ThreadsBackend(std::shared_ptr<RankThread> rank, const std::string& name,
                 const std::vector<std::int64_t>& members);

  const std::string getBackendName() const override { return "threads"; }

 protected:
  Work launch(CollectiveCall call, c10d::OpType op_type) override;
  Work launch_message(CollectiveCall call, c10d::OpType op_type) override;
  c10::intrusive_ptr<c10d::Backend> make_group(
      const std::string& name, const std::vector<std::int64_t>& members) const override;
  c10::intrusive_ptr<RankWork> joined(const std::vector<Work>& works) const override;

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
  void check_caller(const CollectiveCall& call) const;

  std::shared_ptr<RankThread> rank_;
  std::shared_ptr<const MeetingGroup> group_;
  std::optional<std::int64_t> last_thread_;  // of the rank that has launched a collective
  bool has_several_threads_ = false;
};

// Waits for meetings, and lets other ranks run meanwhile.
class POLYRANK_API ThreadsWork final : public RankWork {
 public:
  // `meetings`: all that it waits for; none if it is complete.
  ThreadsWork(std::shared_ptr<RankThread> rank, std::vector<std::shared_ptr<Meeting>> meetings,
              std::vector<at::Tensor> results, c10d::OpType op_type);

  // Asked for again and again, lets the others run.
  bool isCompleted() override;
  bool isSuccess() const override;
  // Throws: what RankTurns::wait() throws.
  bool wait(std::chrono::milliseconds timeout) override;
  int sourceRank() const override;
  // Waits for what the other waits for, too, in its place.
  void take_over(ThreadsWork* part);

 private:
  RankThread& caller() const;

  std::shared_ptr<RankThread> rank_;
  std::vector<std::shared_ptr<Meeting>> meetings_;
};

}  // namespace polyrank
