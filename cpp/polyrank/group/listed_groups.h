// Process groups whose members were given one by one.
#pragma once

#include <polyrank/core/rank_runs.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/group/group_place.h>

#include <cstdint>
#include <span>
#include <vector>

namespace polyrank {

// Thread rule: immutable; free to be read by any number of threads.
//
// Invariants: those of GroupFamily.
class ListedGroups {
 public:
  // Groups in any order.
  // Throws: UsageError if there is none, sizes differ, a rank is negative or in two of them.
  explicit ListedGroups(std::vector<std::vector<std::int64_t>> groups);

  std::int64_t group_size() const noexcept { return group_size_; }
  std::int64_t num_groups() const noexcept;
  const RankSet& ranks() const noexcept { return ranks_; }

  // Cost: O(log number of ranges of ranks()).
  GroupPlace place_of(std::int64_t rank) const;

  // Requires, here and below: 0 <= group < num_groups(), 0 <= position < group_size()
  std::int64_t member(std::int64_t group, std::int64_t position) const noexcept;

  std::span<const std::int64_t> members(std::int64_t group) const noexcept;
  // Cost: O(group_size()).
  RankRuns runs(std::int64_t group) const { return RankRuns::of(members(group)); }

  bool operator<(const ListedGroups& other) const noexcept;

 private:
  std::int64_t group_size_ = 0;
  std::vector<std::int64_t> members_;  // group after group
  RankSet ranks_;
  std::vector<std::int64_t> index_of_rank_;  // index in ranks_ -> index in members_
};

}  // namespace polyrank
