// The process group of a rank that is a process.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/processes/quick_call.h>
#include <polyrank/world/processes/rank_process.h>
#include <polyrank/world/rank_backend.h>

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
class POLYRANK_API ProcessesBackend final : public RankBackend {
 public:
  // The group `name` of these global ranks, in this order, as the rank sees it.
  // Throws: UsageError, CollectiveMismatchError as MatchBoard::join_group(); UsageError if the rank
  //         is not in the group.
  // `shown_as`: what profilers call the backend: the one that the program names.
  ProcessesBackend(std::shared_ptr<RankProcess> rank, const std::string& name,
                   const std::vector<std::int64_t>& members, std::string shown_as = "processes");

  const std::string getBackendName() const override { return "processes"; }

 protected:
  Work launch(CollectiveCall call, c10d::OpType op_type) override;
  Work launch_message(CollectiveCall call, c10d::OpType op_type) override;
  c10::intrusive_ptr<c10d::Backend> make_group(
      const std::string& name, const std::vector<std::int64_t>& members) const override;
  c10::intrusive_ptr<RankWork> joined(const std::vector<Work>& works) const override;

 private:
  // A launch that is about to come to its meeting.
  struct Begun {
    CollectiveCall call;
    c10d::OpType op_type;
    CollectiveLaunch described;
    std::function<void()> end_event;  // of profilers; null: none
  };
  Begun begin(CollectiveCall call, c10d::OpType op_type);
  Work end(Begun begun, std::vector<RankProcess::Pending> launches,
           std::optional<LaunchesInFlight::Id> in_flight);
  // It has come to it.
  Work arrived(Begun begun, SharedArrival arrival, std::size_t participant, bool waits,
               std::optional<Launch> launch);
  template <class Come>
  Work come(CollectiveCall call, c10d::OpType op_type, std::size_t participant, bool waits,
            const Come& come);
  Work meet_quickly(CollectiveCall call, c10d::OpType op_type, const QuickGift& gift);
  void carry_out(const HeldMeeting& meeting);
  void check_caller(const CollectiveCall& call) const;

  std::shared_ptr<RankProcess> rank_;
  std::shared_ptr<const MeetingGroup> group_;  // a copy of this process
  std::string shown_as_;
  QuickMember quick_;
};

// Waits for launches, and takes their results.
class POLYRANK_API ProcessesWork final : public RankWork {
 public:
  // `launches`: all that it waits for; none if it is complete.
  ProcessesWork(std::shared_ptr<RankProcess> rank, std::shared_ptr<const MeetingGroup> group,
                std::vector<RankProcess::Pending> launches, std::vector<at::Tensor> results,
                c10d::OpType op_type);

  bool isCompleted() override;
  bool isSuccess() const override;
  // Throws: what SharedRun::wait() throws.
  bool wait(std::chrono::milliseconds timeout) override;
  int sourceRank() const override;
  // Called when the program has waited for it.
  void at_end(std::function<void()> end_event) {
    recordFunctionEndCallback_ = std::move(end_event);
  }

  // Waits for what the other waits for, too, in its place.
  void take_over(ProcessesWork* part);

 private:
  std::shared_ptr<RankProcess> rank_;
  std::shared_ptr<const MeetingGroup> group_;
  std::vector<RankProcess::Pending> launches_;
};

}  // namespace polyrank
