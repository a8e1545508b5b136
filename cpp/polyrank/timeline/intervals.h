// Sets of points in time.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <vector>

namespace polyrank {

// [start, end). Units: nanoseconds.
struct Interval {
  std::int64_t start;
  std::int64_t end;
  bool operator==(const Interval&) const = default;
};

// Ensures: (1) ascending, none empty, none touches another; (2) covers what `intervals` covers.
// Cost: O(n log n).
POLYRANK_API std::vector<Interval> union_of(std::vector<Interval> intervals);

// What `whole` covers and `parts` does not. Requires: both as union_of() gives them.
// Cost: O(n + m).
POLYRANK_API std::vector<Interval> without(const std::vector<Interval>& whole,
                                           const std::vector<Interval>& parts);

// How long they are together. Requires: as union_of() gives them.
POLYRANK_API std::int64_t length_of(const std::vector<Interval>& intervals) noexcept;

}  // namespace polyrank
