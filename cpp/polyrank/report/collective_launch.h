// One launch of a collective or point-to-point, as the world that runs it tells the record.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/collective/reduce_op.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/group/group.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace polyrank {

// Tensors of one dtype and shape that follow each other in an argument.
struct TensorRun {
  static constexpr std::int64_t kDiffers = -1;

  std::string_view dtype = {};           // "float32"; lives as long as the process
  std::vector<std::int64_t> shape = {};  // kDiffers where ranks differ
  std::int64_t count = 1;
  std::int64_t nbytes = 0;  // of all `count`; on the rank that holds most
  bool operator==(const TensorRun&) const = default;
};

struct CollectiveLaunch {
  // No root or peer; and one that differs between the ranks that launch.
  static constexpr std::int64_t kNone = -1;
  static constexpr std::int64_t kDiffers = -2;

  // Always needed: what is counted.
  CollectiveKind kind = CollectiveKind::kNotACollective;
  std::shared_ptr<const Group> group = {};  // not null
  std::int64_t num_groups = 1;              // groups that ran, at most the group's num_groups
  std::int64_t num_computed = 0;  // groups whose result was computed; the others share theirs
  std::int64_t input_bytes = 0;   // of one rank; the largest where ranks differ

  // Only looked at while a trace is on; see CollectiveRecord::is_tracing().
  std::string_view op_name =
      {};                      // what launched it: "c10d::allreduce_"; lives as long as the process
  RankPartition cohorts = {};  // the ranks that launch, and which of them bring the same values
  std::optional<ReduceOp> reduce_op = {};
  std::int64_t root = kNone;            // group rank of the root, or of the peer of a send or recv
  std::int64_t tag = 0;                 // of a send or recv
  std::vector<TensorRun> inputs = {};   // of a batch of sends and receives: what is sent
  std::vector<TensorRun> outputs = {};  // and what is received
  bool is_async = false;                // whether the program waits for it by itself
  std::int64_t sequence = kNone;  // index among the group's launches; kNone: the record counts
  std::int64_t start_ns = 0;      // trace_clock_ns() when it started; 0: as it is recorded
};

// Identifies a launch that is in a trace; kNotTraced for all others.
using LaunchId = std::uint64_t;
inline constexpr LaunchId kNotTraced = 0;

}  // namespace polyrank
