// The one record of what a run launched: counts always, every launch while a trace is on.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/core/export.h>
#include <polyrank/report/collective_launch.h>
#include <polyrank/report/collective_trace.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace polyrank {

// NOTE [How a world records]
// Whoever runs a collective tells this record, once a launch, after it ran:
//
//     CollectiveLaunch launch{.kind = …, .group = group, .num_groups = …, .input_bytes = …};
//     if (collective_record().is_tracing()) {
//       launch.inputs = …;                          // the details; world/launch_details.h reads
//     }                                             // them off tensors
//     const LaunchId id = collective_record().launch(std::move(launch));
//
// - `group` is made when the process group is, and shared by all its launches.
// - A launch by several ranks at once (lockstep) is one launch, with all of them in `cohorts`. A
//   world whose ranks launch one by one (threads), or that is a single rank (fake), gives
//   RankPartition::uniform() of the one rank, and its own sequence number of that rank in the
//   group.
// - start_ns is trace_clock_ns() from before it ran, if that is known.
// - What the launch returns to wait with (a Work) keeps `id` and calls waited(id) from its wait(),
//   unless the launch was synchronous. Results that are waited for as tensors are
//   world/launch_details.h's.
// - A launch that throws is not recorded.
// The finders of report/call_site.h add the program's line and module.

// All launches of one kind on one group.
struct CollectiveTotals {
  CollectiveKind kind = CollectiveKind::kNotACollective;
  std::shared_ptr<const Group> group;
  std::int64_t num_groups = 0;  // of the latest launch
  std::int64_t num_launches = 0;
  std::int64_t input_bytes = 0;    // of one rank, all launches together
  std::int64_t rank_launches = 0;  // launches that ranks would make in processes of their own
  std::int64_t num_computed = 0;
};

// Thread rule: safe from any thread.
//
// Invariant: (1) launches of a group are numbered from 0 in the order in which they returned, also
// those outside of traces, unless the world numbers them.
class POLYRANK_API CollectiveRecord {
 public:
  // Counts a launch, and adds it to each trace that is on.
  // Ensures: (1) gives kNotTraced exactly if no trace is on.
  // Cost: independent of the world size; without a trace a look-up by group name.
  LaunchId launch(CollectiveLaunch launch);

  // Notes that the program waits for a launch. Only the first wait counts.
  void waited(LaunchId id);

  // Whether launches should come with their details. One atomic load.
  bool is_tracing() const noexcept { return num_traces_.load(std::memory_order_relaxed) > 0; }

  // How many launches the calling thread has recorded, in any trace or none.
  static std::uint64_t launches_of_thread() noexcept;

  // From start() to stop() launches are added to `trace`. Traces may overlap.
  void start(std::shared_ptr<CollectiveTrace> trace);
  void stop(const std::shared_ptr<CollectiveTrace>& trace);

  // One row per kind and group, ordered by group label, group name and kind.
  std::vector<CollectiveTotals> totals() const;

  // Forgets counts and sequence numbers; traces keep what they have.
  void reset();

  // Groups that are made from now on may have the names of earlier ones: their launches are
  // numbered from 0 again.
  void restart_sequences();

  // The index that the group's next launch has, where the record counts.
  std::int64_t next_sequence(const Group& group) const;

 private:
  struct OfGroup {
    std::int64_t next_sequence = 0;
    std::map<CollectiveKind, CollectiveTotals> by_kind;
  };

  void count_traces();

  mutable std::mutex mutex_;
  std::map<std::string, OfGroup, std::less<>> groups_;
  std::vector<std::shared_ptr<CollectiveTrace>> traces_;
  std::atomic<std::size_t> num_traces_{0};
  std::atomic<bool> wants_source_{false};
  LaunchId last_id_ = kNotTraced;
};

// The record of this process.
POLYRANK_API CollectiveRecord& collective_record();

}  // namespace polyrank
