// The split of a set of ranks into cohorts.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/rank_set.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace polyrank {

// Which ranks hold the same value: each rank belongs to one cohort. Interned: two partitions are
// equal exactly if they are the same object, so comparing costs a pointer comparison.
//
// Thread rule: free to be read and made by any number of threads.
//
// Invariants: (1) cohorts are not empty, disjoint, and cover ranks(); (2) cohorts are numbered by
// their lowest rank; (3) equal partitions are identical objects.
class POLYRANK_API RankPartition {
 public:
  // The partition of no ranks.
  RankPartition();

  // One cohort (none if there is no rank).
  static RankPartition uniform(const RankSet& ranks);
  // One cohort a rank.
  static RankPartition identity(const RankSet& ranks);
  // Ranks with equal labels are a cohort; labels[i] belongs to ranks.rank_at(i).
  // Throws: UsageError if there is not one label a rank.
  static RankPartition from_labels(const RankSet& ranks, std::span<const std::int64_t> labels);
  // The given cohorts, in any order.
  // Throws: UsageError if one is empty or two share a rank.
  static RankPartition from_cohorts(std::span<const RankSet> cohorts);

  const RankSet& ranks() const noexcept;
  std::int32_t num_cohorts() const noexcept;
  bool is_uniform() const noexcept { return num_cohorts() <= 1; }
  bool is_identity() const noexcept { return num_cohorts() == ranks().size(); }

  // The cohort of a rank.
  // Throws: UsageError if `rank` is not in ranks().
  std::int32_t cohort_of(std::int64_t rank) const;
  // The cohort of ranks().rank_at(index).
  // Requires: 0 <= index < ranks().size()
  std::int32_t cohort_at(std::int64_t index) const noexcept;
  // Requires, for these two: 0 <= cohort < num_cohorts()
  // Cost: O(1); the first call of cohort() on a partition O(world size).
  const RankSet& cohort(std::int32_t cohort) const;
  std::int64_t lowest_rank(std::int32_t cohort) const;

  // The partition of a subset of the ranks: two of them share a cohort iff they do here.
  // Throws: UsageError if `subset` is no subset of ranks().
  RankPartition restrict_to(const RankSet& subset) const;

  // Cohorts with equal labels become one.
  // Requires: one label a cohort
  // Ensures: (1) refines(*this, result); (2) ranks share a cohort iff their cohorts' labels agree.
  RankPartition coarsen(std::span<const std::int64_t> label_of_cohort) const;

  // "{0-3} {4-7}", abbreviated where there are many.
  std::string to_string() const;

  bool operator==(const RankPartition& other) const noexcept = default;
  std::size_t hash() const noexcept { return std::hash<const void*>()(rep_.get()); }

 private:
  struct Rep;
  struct Interner;
  explicit RankPartition(std::shared_ptr<const Rep> rep) : rep_(std::move(rep)) {}
  // From cohort numbers that are in order of first occurrence.
  static RankPartition intern(const RankSet& ranks, std::vector<std::int32_t> cohorts,
                              std::int32_t num_cohorts);
  friend RankPartition make_meet(const RankPartition& a, const RankPartition& b);

  std::shared_ptr<const Rep> rep_;
};

// Coarsest partition that refines both `a` and `b`.
// Requires: a.ranks() == b.ranks()
// Ensures: (1) each cohort lies in one cohort of `a` and in one of `b`; (2) ranks that share a
//          cohort in both share one here; (3) meet(a, a) == a; (4) meet(a, b) == meet(b, a).
// Throws: UsageError if the rank sets differ.
// Cost: O(world size) the first time on a thread, a look-up afterwards.
POLYRANK_API RankPartition meet(const RankPartition& a, const RankPartition& b);

// `under` where `over` has none of the ranks, and `over` where it has them.
// Requires: over.ranks() is a subset of under.ranks()
// Ensures: (1) two ranks share a cohort iff both are ranks of `over` and share one there, or
// neither is
//          and they share one in `under`.
// Throws: UsageError if the requirement is not met.
// Cost: as meet().
POLYRANK_API RankPartition overlay(const RankPartition& over, const RankPartition& under);

// Whether each cohort of `fine` lies in one cohort of `coarse`.
// Ensures: (1) refines(fine, coarse) == (meet(fine, coarse) == fine).
// Throws, cost: as meet().
POLYRANK_API bool refines(const RankPartition& fine, const RankPartition& coarse);

}  // namespace polyrank

template <>
struct std::hash<polyrank::RankPartition> {
  std::size_t operator()(const polyrank::RankPartition& partition) const noexcept {
    return partition.hash();
  }
};
