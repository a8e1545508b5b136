// What a stretch of a timeline was spent with.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/timeline/idle_time.h>
#include <polyrank/timeline/intervals.h>
#include <polyrank/timeline/timeline.h>

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

namespace polyrank {

// All works of a name, of a module or of a group. Times are sums, also of what ran at once.
struct WorkSum {
  std::int64_t count = 0;
  std::int64_t compute = 0;  // and copies
  std::int64_t communication = 0;
  std::int64_t exposed = 0;  // communication while nothing was computed
  double flops = 0;
};

using SumsByText = std::map<std::string_view, WorkSum>;

// Units: nanoseconds.
struct TimeReport {
  std::int64_t start = 0;
  std::int64_t end = 0;
  std::int64_t compute = 0;        // a stream computed
  std::int64_t communication = 0;  // a stream communicated
  std::int64_t exposed = 0;        // a stream communicated and none computed
  std::int64_t slowed = 0;         // kernels took longer, for communication ran beside them; a sum
  std::int64_t host_busy = 0;      // the CPU worked for it, perhaps before it began
  double flops = 0;
  double recomputed_flops = 0;  // of them
  double roofline = 0;          // of all that is computed, at the GPU's peaks
  std::map<std::pair<IdleCause, std::string_view>, std::int64_t> idle = {};  // cause, group
  SumsByText by_group = {};
  SumsByText by_module = {};
  SumsByText by_name = {};
};

// Answers for many stretches of one timeline, which must not change meanwhile.
class POLYRANK_API TimeReports {
 public:
  explicit TimeReports(const Timeline& timeline);

  // Of what ran from `start` to `end`; works that ran in part count by their share.
  // Ensures: (1) compute and all of idle are end - start; (2) exposed <= communication, and is at
  //              most what is exposed by groups; (3) times and flops of stretches that follow
  //              each other sum up to those of all.
  // Requires: 0 <= start <= end <= makespan
  // It tells nothing of the CPU, which runs ahead.
  TimeReport report(std::int64_t start, std::int64_t end) const;

  // Of each step, from the end of the one before to its own; what came after the last step is in
  // none.
  std::vector<TimeReport> steps() const;

  // Of all that was launched.
  TimeReport whole() const;

 private:
  const Timeline& timeline_;
  std::vector<Interval> compute_;
  std::vector<Interval> communication_;
  std::vector<IdleTime> idle_;
};

}  // namespace polyrank
