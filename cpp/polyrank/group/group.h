// A process group as a value.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/rank_runs.h>
#include <polyrank/group/group_family.h>

#include <cstdint>
#include <optional>
#include <string>

namespace polyrank {

// What a process group is called, who is in it, and which groups act when the program names it.
// Made once a group and shared by its launches, so that a launch costs the same at any world size.
//
// Thread rule: immutable; free to be read by any number of threads.
class POLYRANK_API Group {
 public:
  // A group that acts alone: that of a rank on its own.
  // `name`: torch.distributed's. `label`: what people call it: "mesh_dp", "world", "ranks 0-3".
  // `ranks`: the members' global ranks, in the order of the group.
  Group(std::string name, std::string label, RankRuns ranks);

  // One that stands for its family, as in lockstep.
  Group(std::string name, std::string label, RankRuns ranks, GroupFamily family);

  const std::string& name() const noexcept { return name_; }
  const std::string& label() const noexcept { return label_; }
  const RankRuns& ranks() const noexcept { return ranks_; }
  std::int64_t size() const noexcept { return size_; }

  // Number of groups that act together when the program names this one.
  std::int64_t num_groups() const noexcept { return family_ ? family_->num_groups() : 1; }

  // Those groups, this one among them.
  // Throws: InternalError if the group acts alone.
  const GroupFamily& family() const;

 private:
  std::string name_;
  std::string label_;
  RankRuns ranks_;
  std::int64_t size_;
  std::optional<GroupFamily> family_;
};

}  // namespace polyrank
