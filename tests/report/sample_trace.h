// A trace to write down in tests.
#pragma once

#include <polyrank/report/collective_record.h>

#include <memory>
#include <utility>
#include <vector>

namespace polyrank {

inline CollectiveLaunch sample_launch(CollectiveKind kind, const RankSet& ranks) {
  static const auto group =
      std::make_shared<Group>("7", "mesh_dp", RankRuns::of_run({0, 2, 2}),
                              GroupFamily::fibers({{.size = 2, .stride = 2}}, /*num_ranks=*/4));
  CollectiveLaunch launch;
  launch.kind = kind;
  launch.group = group;
  launch.num_groups = 2;
  launch.input_bytes = 64;
  launch.op_name = "c10d::an_operator";
  launch.cohorts = RankPartition::uniform(ranks);
  launch.inputs = {{.dtype = "float32", .shape = {4, TensorRun::kDiffers}, .nbytes = 64}};
  launch.outputs = launch.inputs;
  return launch;
}

// Records `launches` one by one, in a record of its own; the first is waited for in the end.
inline std::shared_ptr<CollectiveTrace> sample_trace(std::vector<CollectiveLaunch> launches) {
  auto trace = std::make_shared<CollectiveTrace>();
  CollectiveRecord record;
  record.start(trace);
  LaunchId first = kNotTraced;
  for (CollectiveLaunch& launch : launches) {
    const LaunchId id = record.launch(std::move(launch));
    first = first == kNotTraced ? id : first;
  }
  record.waited(first);
  return trace;
}

}  // namespace polyrank
