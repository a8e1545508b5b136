// Process groups that run one collective together.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/rank_runs.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/group/layout.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace polyrank {

// Groups that all ranks name when the program names one: those of a mesh dimension. In lockstep a
// collective acts on all of them; a rank on its own is in one of them. Interned: families that were
// listed alike are the same object, and so are fibers of the same dimensions.
//
// Thread rule: free to be read and made by any number of threads.
//
// Invariants: (1) at least one group; (2) groups are disjoint and of equal size, at least 1; (3)
// groups are sorted by their lowest rank; members keep the order that the program gave them.
class POLYRANK_API GroupFamily {
 public:
  // One group alone; members in group order.
  // Throws: UsageError if there is no member, or one is negative or repeated.
  static GroupFamily single(std::span<const std::int64_t> members);

  // Groups given one by one.
  // Throws: UsageError if there is none, sizes differ, or a rank is in two of them.
  static GroupFamily explicit_groups(std::span<const std::vector<std::int64_t>> groups);

  // All groups of the family that `members` belongs to: its strided layout repeated over
  // 0..world_size-1 by the complement of the layout, each with its members in the order of the
  // given one. A group without a regular layout, or whose place is not one of the complement's,
  // stands alone.
  // Throws: as single(), and UsageError if a member is not in 0..world_size-1.
  static GroupFamily complete(std::span<const std::int64_t> members, std::int64_t world_size);

  // The groups along `dims` of a mesh of the ranks 0..num_ranks-1; the last dimension varies
  // fastest in the order of a group. No rank is stored: answers cost O(number of dims).
  // Throws: UsageError if a size or stride is not positive, offsets of two places are equal, or the
  //         groups do not tile the ranks.
  static GroupFamily fibers(std::vector<LayoutDim> dims, std::int64_t num_ranks);

  std::int64_t num_groups() const noexcept;
  std::int64_t group_size() const noexcept;
  // The global rank at a position of a group.
  // Requires: 0 <= group < num_groups(), 0 <= position < group_size()
  std::int64_t member(std::int64_t group, std::int64_t position) const noexcept;
  // All of a group, in its order. Cost: O(1) of fibers along one dimension, else O(group_size()).
  RankRuns runs(std::int64_t group) const;
  // The same as a list, which groups that were listed have.
  // Throws: InternalError for fibers(): they store no rank.
  std::span<const std::int64_t> members(std::int64_t group) const;
  // The group that a rank belongs to, and its group rank there; -1 if it is in none.
  std::int64_t group_of(std::int64_t rank) const noexcept;
  std::int32_t position_of(std::int64_t rank) const noexcept;
  // All ranks that are in a group.
  RankSet ranks() const;

  // "[0,1] [2,3]", abbreviated where there are many.
  std::string to_string() const;

  bool operator==(const GroupFamily& other) const noexcept = default;
  std::size_t hash() const noexcept { return std::hash<const void*>()(rep_.get()); }

 private:
  struct Rep;
  struct Interner;
  explicit GroupFamily(std::shared_ptr<const Rep> rep) : rep_(std::move(rep)) {}

  std::shared_ptr<const Rep> rep_;
};

}  // namespace polyrank

template <>
struct std::hash<polyrank::GroupFamily> {
  std::size_t operator()(const polyrank::GroupFamily& family) const noexcept {
    return family.hash();
  }
};
