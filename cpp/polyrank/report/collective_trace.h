// Every collective that was launched while a trace was on.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/report/call_site.h>
#include <polyrank/report/collective_launch.h>

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

namespace polyrank {

// Nanoseconds of a clock that only goes forward.
POLYRANK_API std::int64_t trace_clock_ns() noexcept;

// Where the program waited for a launch.
struct LaunchWait {
  std::int64_t time_ns = 0;
  SourceLine source;
};

// A launch, and what the record adds. Times are of trace_clock_ns(): of this process, not of a
// network.
struct TracedLaunch {
  LaunchId id = kNotTraced;
  CollectiveLaunch launch;
  std::int64_t end_ns = 0;  // when the launch returned
  SourceLine source;
  ModulePlace place;
  std::optional<LaunchWait> wait;  // the first; nothing if none, or if the launch was synchronous

  // From the cost model (collective/cost_model.h): the payload, and what a rank sends with the
  // kind's usual algorithm.
  std::int64_t payload_bytes() const;
  std::int64_t wire_bytes() const;
};

struct TraceOptions {
  bool with_source = true;  // look for the program's line: costs a walk over Python's frames
};

// Launches in the order in which they returned.
//
// Thread rule: safe from any thread.
class POLYRANK_API CollectiveTrace {
 public:
  explicit CollectiveTrace(TraceOptions options = {});

  const TraceOptions& options() const noexcept { return options_; }
  std::int64_t start_ns() const noexcept { return start_ns_; }

  // Both are called by the CollectiveRecord. `id`s ascend.
  void add(TracedLaunch launch);
  void add_wait(LaunchId id, const LaunchWait& wait);

  std::size_t size() const;
  std::vector<TracedLaunch> launches() const;

 private:
  TraceOptions options_;
  std::int64_t start_ns_;
  mutable std::mutex mutex_;
  std::deque<TracedLaunch> launches_;
};

}  // namespace polyrank
