// Rank-dependent numbers as PyTorch sees them: nodes of SymInt, SymFloat and SymBool.
#pragma once

#include <c10/core/SymBool.h>
#include <c10/core/SymFloat.h>
#include <c10/core/SymInt.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/engine/local_node.h>
#include <polyrank/engine/local_number.h>

#include <cstdint>
#include <span>
#include <utility>

namespace polyrank {

// The three kinds of node. See NOTE [Rank-dependent numbers] in local_node.h.

class POLYRANK_API LocalIntNode final : public LocalNode {
 public:
  explicit LocalIntNode(LocalInt number) : LocalNode(std::move(number)) {}
  const LocalInt& local_int() const { return std::get<LocalInt>(number()); }
  // Requires: 0 <= cohort < partition().num_cohorts()
  std::int64_t value(std::int32_t cohort) const { return local_int().value(cohort); }
};

class POLYRANK_API LocalFloatNode final : public LocalNode {
 public:
  explicit LocalFloatNode(LocalFloat number) : LocalNode(std::move(number)) {}
  const LocalFloat& local_float() const { return std::get<LocalFloat>(number()); }
  double value(std::int32_t cohort) const { return local_float().value(cohort); }
};

class POLYRANK_API LocalBoolNode final : public LocalNode {
 public:
  explicit LocalBoolNode(LocalBool number) : LocalNode(std::move(number)) {}
  const LocalBool& local_bool() const { return std::get<LocalBool>(number()); }
  bool value(std::int32_t cohort) const { return local_bool().value(cohort); }
};

// A number with the given values, a plain one where all are equal.
// Ensures: (1) on rank r it is value_of_cohort[partition.cohort_of(r)];
//          (2) as_local_*(result) is null exactly if all values are equal.
// Throws: UsageError if there is no rank, or not one value a cohort.
POLYRANK_API c10::SymInt make_local_int(const RankPartition& partition,
                                        std::span<const std::int64_t> value_of_cohort);
POLYRANK_API c10::SymFloat make_local_float(const RankPartition& partition,
                                            std::span<const double> value_of_cohort);
POLYRANK_API c10::SymBool make_local_bool(const RankPartition& partition,
                                          std::span<const bool> value_of_cohort);

// The node of a rank-dependent number; null for any other number. Owned by its argument. Arithmetic
// may give a node whose value is the same on all ranks: its partition is uniform.
POLYRANK_API const LocalIntNode* as_local_int(const c10::SymInt& number) noexcept;
POLYRANK_API const LocalFloatNode* as_local_float(const c10::SymFloat& number) noexcept;
POLYRANK_API const LocalBoolNode* as_local_bool(const c10::SymBool& number) noexcept;

}  // namespace polyrank
