// The lockstep world of a program without Python: its ranks and process groups.
#pragma once

#include <c10/core/SymInt.h>
#include <polyrank/core/export.h>
#include <polyrank/engine/lockstep_mode.h>

#include <cstdint>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <vector>

namespace polyrank {

using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;

// Runs the rest of the scope on all ranks at once: factories make LocalTensors, each rank draws
// from its own random stream, collectives act on all groups of a family. The streams start in the
// state of PyTorch's default generators, and those go on as rank 0's afterwards.
//
// Thread rule: the world of the thread that makes it.
//
// Invariant: a process has at most one, which owns the process groups by name.
class POLYRANK_API LockstepWorld {
 public:
  // Throws: UsageError if `world_size` is not positive, or process groups exist already.
  explicit LockstepWorld(std::int64_t world_size);
  ~LockstepWorld();
  LockstepWorld(const LockstepWorld&) = delete;
  LockstepWorld& operator=(const LockstepWorld&) = delete;

  // The group of all ranks.
  const ProcessGroup& world_group() const noexcept { return world_group_; }

  // A group of these ranks, in this order, which stands alone: see NOTE [Group families].
  // Throws: UsageError if there is no rank, or one is repeated or not of the world.
  ProcessGroup new_group(const std::vector<std::int64_t>& ranks, const std::string& label = "");

  // Groups that are a family, as the groups of a mesh dimension are; gives the one that stands for
  // all of them.
  // Throws: UsageError as new_group(), and if sizes differ or groups share a rank.
  ProcessGroup new_subgroups_by_enumeration(const std::vector<std::vector<std::int64_t>>& ranks,
                                            const std::string& label = "");

  // Seeds the stream of each rank; seeds may differ between ranks.
  void manual_seed(const c10::SymInt& seed);

 private:
  ProcessGroup make_group(const std::vector<std::int64_t>& ranks, const std::string& label);

  std::shared_ptr<LockstepMode> mode_;
  std::int64_t num_groups_ = 0;
  ProcessGroup world_group_;
  LockstepGuard guard_;
};

// `group`, or the world's group where it is null.
// Throws: UsageError if it is null and there is no LockstepWorld.
POLYRANK_API ProcessGroup group_or_world(const ProcessGroup& group);

// Each rank's place in its group of the family, a rank-dependent int; -1 where it is in none.
// Throws: as group_or_world(); CollectiveError if nobody took note of the group.
POLYRANK_API c10::SymInt get_rank(const ProcessGroup& group = {});

// As get_rank(), of the group of that name and size.
POLYRANK_API c10::SymInt rank_in_group(const std::string& group_name, std::int64_t group_size);

// Number of ranks in each group of the family.
// Throws: as group_or_world().
POLYRANK_API std::int64_t get_world_size(const ProcessGroup& group = {});

}  // namespace polyrank
