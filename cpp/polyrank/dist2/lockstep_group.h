// A process group as a value, in lockstep.
#pragma once

#include <c10/core/SymInt.h>
#include <polyrank/core/export.h>
#include <polyrank/dist2/backend_registry.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace polyrank::dist2 {

// Stands for the group that each rank holds at this line of the program: the family that its name
// has in group_families(). Collectives are run by our handlers and reach no backend.
//
// Thread rule: belongs to the thread that runs the ranks.
class POLYRANK_API LockstepGroup final : public c10d::ProcessGroup {
 public:
  // The group of the ranks 0..num_ranks-1.
  static c10::intrusive_ptr<LockstepGroup> of_all_ranks(const Store& store, std::int64_t num_ranks,
                                                        c10::Device device);

  LockstepGroup(Store store, int size, c10::DeviceType device);

  // Each rank's place in its group, a rank-dependent int; -1 where it is in none.
  c10::SymInt rank_of_each() const;

  // What ranks get that call split_group(ranks), each with its own list of places in its group.
  // Ranks that are not in their list get nothing, and keep what they have in collectives. Null if
  // that is all ranks. Throws: UsageError as IndependentGroup; CollectiveError if lists overlap
  // without being the same.
  dist2::ProcessGroup split(const std::vector<c10::SymInt>& ranks, const std::string& description);

  dist2::ProcessGroup splitGroup(
      const std::vector<int>& ranks, const std::optional<std::chrono::milliseconds>& timeout,
      const std::optional<c10::intrusive_ptr<c10d::Backend::Options>>& options,
      const std::optional<std::string>& name, const std::optional<std::string>& description,
      const std::optional<std::vector<c10::Device>>& devices) override;

  // Throws: UnsupportedOpError.
  dist2::ProcessGroup mergeRemoteGroup(const Store& store, const MergeOptions& options,
                                       const int& size) override;

  // After either, a collective is an error.
  void shutdown() override;
  void abort() override { shutdown(); }

 private:
  c10::DeviceType device_;
};

}  // namespace polyrank::dist2
