// Base of the groups that dist2 makes.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/dist2/backend_registry.h>
#include <polyrank/world/global_ranks.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace polyrank::dist2 {

// A group that can be split again and again, each time with keys of its own in the store and
// without a change to its own options: PyTorch gives two splits into the same ranks the same keys,
// and writes the new group's time-out into the parent's options.
//
// Thread rule: as c10d's process groups: one thread at a time.
class POLYRANK_API IndependentGroup : public c10d::ProcessGroup, public GlobalRanks {
 public:
  IndependentGroup(Store store, int rank, int size);

  // Of a group of all ranks, and of its parts. Who is who in a merged group, nobody says: its ranks
  // are numbered anew.
  const std::vector<std::int64_t>& global_ranks() const override { return global_ranks_; }

  // Throws: UsageError if `ranks` has none, one twice, or one that the group has not.
  dist2::ProcessGroup splitGroup(
      const std::vector<int>& ranks, const std::optional<std::chrono::milliseconds>& timeout,
      const std::optional<c10::intrusive_ptr<c10d::Backend::Options>>& options,
      const std::optional<std::string>& name, const std::optional<std::string>& description,
      const std::optional<std::vector<c10::Device>>& devices) override;

  // Without a time-out of its own (PyTorch's default, of half an hour) it takes this group's.
  // Throws: CollectiveError if more than `size` came to the store, or fewer within the time-out.
  dist2::ProcessGroup mergeRemoteGroup(const Store& store, const MergeOptions& options,
                                       const int& size) override;

 protected:
  // Options for a part of this group that may be changed.
  virtual c10::intrusive_ptr<c10d::Backend::Options> new_options() const = 0;

  // Called by each member of a part before its backends are made; `rank` is its place in the part.
  virtual void meet(const std::string& /*name*/, int /*rank*/, int /*size*/) const {}

  // Called by each member of a merged group before its backends are made.
  virtual void meet_merged(const Store& /*store*/, int /*rank*/, int /*size*/,
                           std::chrono::milliseconds /*timeout*/) const {}

  // A group of the backends of `group`, which PyTorch made, that is one of ours.
  virtual c10::intrusive_ptr<IndependentGroup> adopt(const dist2::ProcessGroup& group) const = 0;

 private:
  std::vector<std::int64_t> global_ranks_;
  std::map<std::vector<int>, int> num_splits_;  // by the ranks of the part
};

// 0..size-1, as backends' options have it.
std::vector<std::uint64_t> first_ranks(int size);

// A name for the next group that the calling thread's rank makes: ranks that make equally many
// agree.
std::string next_group_name();

// Gives `group` the name and backends of `other`.
POLYRANK_API void take_over(const dist2::ProcessGroup& other, c10d::ProcessGroup* group);

}  // namespace polyrank::dist2
