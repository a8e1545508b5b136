// The place of one rank in one process group of the fake world.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/group_members.h>

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

// Who is in the group, as the rank that runs sees it.
//
// Thread rule: safe from any thread; answers change with the rank.
class POLYRANK_API FakeMember {
 public:
  FakeMember(GroupMembers members, std::shared_ptr<const FakeRank> rank)
      : members_(std::move(members)), rank_(std::move(rank)) {}

  // Of another group of the same world.
  FakeMember with_members(GroupMembers members) const { return {std::move(members), rank_}; }

  std::int64_t own_rank() const noexcept { return rank_->value; }
  std::int64_t group_size() const noexcept { return members_.size(); }

  // This rank's place in its group; -1 if it has none.
  std::int64_t group_rank() const noexcept { return group_rank_of(own_rank()); }

  // The place of any rank in this rank's group; -1 if it is not in it.
  std::int64_t group_rank_of(std::int64_t global_rank) const noexcept {
    return members_.position_of(global_rank, own_rank());
  }

  // Throws: UsageError if this rank has no group, or the group no such place.
  std::int64_t global_rank_of(std::int64_t group_rank) const;

  // The members' global ranks, in the order of the group.
  // Throws: UsageError if this rank has no group.
  RankRuns ranks() const;

  // "0-3,6"; "none" if this rank has no group.
  std::string to_string() const;

 private:
  GroupMembers members_;
  std::shared_ptr<const FakeRank> rank_;
};

}  // namespace polyrank
