// The members of process groups, seen from one rank, at a cost that does not grow with the group.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/layout.h>
#include <polyrank/core/rank_runs.h>

#include <cstdint>
#include <map>
#include <vector>

namespace polyrank {

// Which ranks a rank's group has. Either one group whose members were listed, or the fibers of a
// mesh dimension: then each rank of the mesh sees its own group, and no rank is stored.
//
// Thread rule: immutable; free to be read by any number of threads.
class POLYRANK_API GroupMembers {
 public:
  // One group alone, in the order given.
  // Throws: UsageError if there is no member, or one is negative or repeated.
  static GroupMembers listed(std::vector<std::int64_t> members);

  // The fibers along `dims` of a mesh of the ranks 0..num_ranks-1; the last dimension varies
  // fastest in the order of a group.
  // Throws: UsageError if a size or stride is not positive, offsets of two places are equal, or the
  //         fibers do not tile the ranks.
  // Cost: O(number of dims); so are the functions below, but for runs().
  static GroupMembers fibers(std::vector<LayoutDim> dims, std::int64_t num_ranks);

  // Number of members.
  std::int64_t size() const noexcept { return size_; }

  // Whether `rank` has a group.
  bool has_group(std::int64_t rank) const noexcept;

  // The group rank of `rank` in the group of `own_rank`; -1 if it is not in it.
  // Ensures: (1) position_of(member(i, r), r) == i for each rank r that has a group
  //          (2) position_of(a, b) >= 0 iff position_of(b, a) >= 0
  std::int64_t position_of(std::int64_t rank, std::int64_t own_rank) const noexcept;

  // The global rank at a position of the group of `own_rank`.
  // Requires: has_group(own_rank), 0 <= position < size()
  std::int64_t member(std::int64_t position, std::int64_t own_rank) const noexcept;

  // The members of the group of `own_rank`, in their order.
  // Requires: has_group(own_rank)
  // Cost: O(1) along one dimension of a mesh, else O(size()).
  RankRuns runs(std::int64_t own_rank) const;

 private:
  GroupMembers() = default;
  std::int64_t first_of(std::int64_t rank) const noexcept;

  std::int64_t size_ = 0;
  std::vector<LayoutDim> dims_;  // of fibers
  std::int64_t num_ranks_ = 0;   // of the mesh; 0: listed
  std::vector<std::int64_t> listed_;
  std::map<std::int64_t, std::int64_t> position_of_;
};

}  // namespace polyrank
