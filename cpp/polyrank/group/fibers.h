// The process groups of a mesh dimension, at a cost that does not grow with the mesh.
#pragma once

#include <polyrank/core/rank_runs.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/group/group_place.h>
#include <polyrank/group/layout.h>

#include <cstdint>
#include <vector>

namespace polyrank {

// The groups of a mesh of the ranks 0..num_ranks-1 whose members differ in some dimensions alone.
// No rank is stored.
//
// Thread rule: immutable; free to be read by any number of threads.
//
// Invariants: those of GroupFamily.
class Fibers {
 public:
  // Along `dims`; the last dimension varies fastest in the order of a group.
  // Throws: UsageError if a size or stride is not positive, offsets of two places are equal, or the
  //         groups do not tile the ranks.
  // Cost: O(number of dims); so are the functions below, except for runs().
  Fibers(std::vector<LayoutDim> dims, std::int64_t num_ranks);

  std::int64_t group_size() const noexcept { return group_size_; }
  std::int64_t num_groups() const noexcept { return num_ranks_ / group_size_; }
  RankSet ranks() const { return RankSet::first(num_ranks_); }

  // Ensures: member(place_of(r).group, place_of(r).position) == r for each rank of the mesh
  GroupPlace place_of(std::int64_t rank) const noexcept;

  // Requires, here and below: 0 <= group < num_groups(), 0 <= position < group_size()
  std::int64_t member(std::int64_t group, std::int64_t position) const noexcept;

  // Cost: O(1) along one dimension of a mesh, else O(group_size()).
  RankRuns runs(std::int64_t group) const;

  bool operator<(const Fibers& other) const noexcept;

 private:
  std::int64_t lowest_rank(std::int64_t group) const noexcept;

  std::vector<LayoutDim> dims_;       // in the order of a group
  std::vector<LayoutDim> ascending_;  // by stride
  std::int64_t group_size_ = 1;
  std::int64_t num_ranks_ = 0;
};

}  // namespace polyrank
