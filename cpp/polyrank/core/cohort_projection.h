// From the cohorts of a partition to those of a coarser one.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace polyrank {

// Says for each cohort of a fine partition which cohort of a coarse one holds it. A cheap value:
// no table where the partitions are equal or the coarse one is uniform.
class POLYRANK_API CohortProjection {
 public:
  // Maps each cohort to itself.
  CohortProjection() = default;

  std::int32_t operator[](std::int32_t fine_cohort) const noexcept {
    return table_ != nullptr ? (*table_)[static_cast<std::size_t>(fine_cohort)]
                             : fine_cohort & mask_;
  }
  bool is_identity() const noexcept { return table_ == nullptr && mask_ == kAll; }

 private:
  friend POLYRANK_API CohortProjection project(const RankPartition& fine,
                                               const RankPartition& coarse);
  static constexpr std::int32_t kAll = -1;  // all bits: each cohort maps to itself

  std::shared_ptr<const std::vector<std::int32_t>> table_;
  std::int32_t mask_ = kAll;  // 0: all cohorts map to cohort 0
};

// Ensures: (1) fine.cohort(c) is a subset of coarse.cohort(project(fine, coarse)[c]) for each c.
// Throws: UsageError if `fine` does not refine `coarse`, or the rank sets differ.
// Cost: O(world size) the first time on a thread, a look-up afterwards.
POLYRANK_API CohortProjection project(const RankPartition& fine, const RankPartition& coarse);

}  // namespace polyrank
