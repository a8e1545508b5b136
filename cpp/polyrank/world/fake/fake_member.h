// The place of one rank in one process group of the fake world.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/rank_runs.h>
#include <polyrank/group/group_family.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

// The rank that the fake world runs at the moment. All groups of a world share one, so that
// becoming another rank is one assignment, whatever the number and sizes of the groups.
struct FakeRank {
  explicit FakeRank(std::int64_t global_rank) : value(global_rank) {}
  std::atomic<std::int64_t> value;
};

// The group of a family that the rank which runs is in.
//
// Thread rule: safe from any thread; answers change with the rank.
class POLYRANK_API FakeMember {
 public:
  FakeMember(GroupFamily family, std::shared_ptr<const FakeRank> rank)
      : family_(std::move(family)), rank_(std::move(rank)) {}

  // Of other groups of the same world.
  FakeMember in(GroupFamily family) const { return {std::move(family), rank_}; }

  std::int64_t own_rank() const noexcept { return rank_->value; }
  std::int64_t group_size() const noexcept { return family_.group_size(); }

  // This rank's place in its group; -1 if it has none.
  std::int64_t group_rank() const noexcept { return group_rank_of(own_rank()); }

  // The place of any rank in this rank's group; -1 if it is not in it.
  std::int64_t group_rank_of(std::int64_t global_rank) const noexcept {
    const std::int64_t own_group = family_.group_of(own_rank());
    return own_group < 0 || family_.group_of(global_rank) != own_group
               ? -1
               : family_.position_of(global_rank);
  }

  // Throws: UsageError if this rank has no group, or the group no such place.
  std::int64_t global_rank_of(std::int64_t group_rank) const;

  // The members' global ranks, in the order of the group.
  // Throws: UsageError if this rank has no group.
  RankRuns ranks() const;

  // "0-3,6"; "none" if this rank has no group.
  std::string to_string() const;

 private:
  GroupFamily family_;
  std::shared_ptr<const FakeRank> rank_;
};

}  // namespace polyrank
