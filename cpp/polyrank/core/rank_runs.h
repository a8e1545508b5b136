// Ranks in an order, written down shortly: the members of a process group.
#pragma once

#include <polyrank/core/export.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace polyrank {

// The ranks first, first + step, …, `count` of them.
struct RankRun {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t step = 1;
  bool operator==(const RankRun&) const = default;
};

// A sequence of ranks as runs. Unlike a RankSet it keeps the order, and a group of every eighth
// rank of a million is one run.
//
// Invariants: (1) each run has at least one rank; a run of one has step 1.
class POLYRANK_API RankRuns {
 public:
  RankRuns() = default;

  // One run.
  // Throws: UsageError if a rank would be negative.
  // Cost: O(1).
  static RankRuns of_run(const RankRun& run);

  // The given ranks, in their order.
  // Ensures: (1) to_vector() gives `ranks`; (2) consecutive ranks are one run.
  // Throws: UsageError if a rank is negative.
  static RankRuns of(std::span<const std::int64_t> ranks);

  std::int64_t size() const noexcept;
  std::span<const RankRun> runs() const noexcept { return runs_; }
  std::vector<std::int64_t> to_vector() const;

  // "0-3,8", "0-56 step 8", "3-0 step -1"; after `max_runs` runs it goes on with "… (512 ranks)".
  std::string to_string(std::size_t max_runs = 16) const;

  bool operator==(const RankRuns&) const = default;

 private:
  std::vector<RankRun> runs_;
};

}  // namespace polyrank
