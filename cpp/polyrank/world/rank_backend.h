// What the process groups of ranks on their own have in common, whatever ranks are made of.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/table_backend.h>
#include <polyrank/matching/match_board.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/rank_work.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace polyrank {

// One rank's group: its place in it, who else is in it, what the record is told of a launch,
// coalescing, groups made of it.
//
// Thread rule: the subclass's.
class POLYRANK_API RankBackend : public TableBackend {
 public:
  // So a batch of messages has a Work for each, as of gloo, which programs may index; NCCL has one
  // for all.
  bool supportsCoalescing() const override { return false; }
  bool supportsSplitting() const override { return true; }
  void startCoalescing() override { coalesced_.emplace(); }
  Work endCoalescing() override;

  void setSequenceNumberForGroup() override {}
  // Nobody waits in vain: a rank that no other can wake is told at once.
  void setTimeout(std::chrono::milliseconds /*timeout*/) override {}
  // Of collectives.
  std::uint64_t getSequenceNumberForGroup() override { return sequence_number_; }
  // Say nothing.
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
  // Throws: UsageError if the global rank is not one of the members.
  RankBackend(std::int64_t global_rank, const std::string& name,
              const std::vector<std::int64_t>& members);

  // Another group of the rank's.
  virtual c10::intrusive_ptr<c10d::Backend> make_group(
      const std::string& name, const std::vector<std::int64_t>& members) const = 0;
  // The Work that waits for all that these wait for.
  virtual c10::intrusive_ptr<RankWork> joined(const std::vector<Work>& works) const = 0;

  std::int64_t global_rank() const noexcept { return global_rank_; }
  // Whether a batch has been started, whose launches wait for nobody until it ends.
  bool is_coalescing() const noexcept { return coalesced_.has_value(); }
  // Throws: CollectiveError if the group has no such rank.
  std::int64_t global_rank_of(std::int64_t group_rank) const;
  // The sender of a message, or its receiver; Meeting::kAnyRank if the call's peers are none.
  std::int64_t peer_of(const std::vector<c10::SymInt>& peers) const;
  // Throws: CollectiveError if the group was shut down, or a real one would refuse the call.
  void check(const CollectiveCall& call) const;
  // What the record is told when the launch has come to its meeting, as far as that is known
  // before.
  CollectiveLaunch describe(const CollectiveCall& call);
  // The launch has come to its meeting. `in_flight`: its id there, if the program is to wait.
  void note_launched(const c10::intrusive_ptr<RankWork>& work, CollectiveLaunch described,
                     std::optional<LaunchesInFlight::Id> in_flight);

  std::uint64_t sequence_number_ = 0;

 private:
  // "group \"mesh_tp\" (ranks 8-15), rank 9".
  std::string describe_member(std::int64_t group_rank) const;

  std::int64_t global_rank_;
  std::shared_ptr<const Group> launch_group_;
  std::vector<std::int64_t> members_;
  std::int64_t num_launches_ = 0;  // messages included
  bool is_shut_down_ = false;
  std::optional<std::vector<Work>> coalesced_;  // works of a batch that has been started
};

}  // namespace polyrank
