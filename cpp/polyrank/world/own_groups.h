// Process groups as launches of one of their ranks name them.
#pragma once

#include <c10/util/intrusive_ptr.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/report/collective_launch.h>

#include <map>
#include <memory>
#include <mutex>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

namespace polyrank {

// A group, and the one of its ranks that has this object of it.
struct OwnGroup {
  c10::weak_intrusive_ptr<c10d::ProcessGroup> process_group;
  std::shared_ptr<const LaunchGroup> group;
  RankPartition rank;
};

// Describing a group takes time that grows with it, so it is done once a group.
//
// Thread rule: safe from any thread.
class POLYRANK_API OwnGroups {
 public:
  OwnGroup find(const c10::intrusive_ptr<c10d::ProcessGroup>& process_group);

  void clear();

 private:
  std::mutex mutex_;
  std::map<const c10d::ProcessGroup*, OwnGroup> groups_;
};

}  // namespace polyrank
