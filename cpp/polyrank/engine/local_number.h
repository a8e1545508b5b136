// A number that may differ between ranks: one value a cohort.
#pragma once

#include <c10/util/SmallVector.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>

#include <cstdint>
#include <span>
#include <utility>
#include <variant>

namespace polyrank {

// One value of type T (std::int64_t, double or bool) for each cohort of a partition. Immutable.
//
// Invariant: cohorts hold different values; doubles differ if their bits do (0.0 and -0.0 do, equal
// NaNs don't). So the number is the same on all ranks exactly if is_uniform().
template <typename T>
class POLYRANK_API LocalNumber {
 public:
  // Merges cohorts with equal values.
  // Throws: UsageError if there is no rank, or not one value a cohort.
  LocalNumber(const RankPartition& partition, std::span<const T> value_of_cohort);

  // The same on all of `ranks`.
  static LocalNumber uniform(const RankSet& ranks, T value);

  const RankPartition& partition() const noexcept { return partition_; }
  const RankSet& ranks() const noexcept { return partition_.ranks(); }
  bool is_uniform() const noexcept { return partition_.is_uniform(); }
  std::span<const T> values() const noexcept { return {values_.data(), values_.size()}; }
  // Requires: 0 <= cohort < partition().num_cohorts()
  T value(std::int32_t cohort) const noexcept { return values_[static_cast<std::size_t>(cohort)]; }

  // Requires: `subset` is one of ranks(), not empty.
  LocalNumber restrict_to(const RankSet& subset) const;

 private:
  RankPartition partition_;
  c10::SmallVector<T, 4> values_;
};

extern template class LocalNumber<std::int64_t>;
extern template class LocalNumber<double>;
extern template class LocalNumber<bool>;

using LocalInt = LocalNumber<std::int64_t>;
using LocalFloat = LocalNumber<double>;
using LocalBool = LocalNumber<bool>;

// Any of the three.
using AnyNumber = std::variant<LocalInt, LocalFloat, LocalBool>;

POLYRANK_API const RankPartition& partition_of(const AnyNumber& number) noexcept;

// The partition on which an operation of numbers over `a` and `b` is computed: their common
// refinement. A uniform number is a constant and fits any ranks; else, where one lives on a subset
// of the other's ranks, the result lives on that subset.
// Throws: UsageError if neither contains the other's ranks.
RankPartition common_partition(const RankPartition& a, const RankPartition& b);

}  // namespace polyrank
