// Process groups as launches of one of their ranks name them.
#pragma once

#include <c10/util/intrusive_ptr.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/group/group.h>

#include <map>
#include <memory>
#include <mutex>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

namespace polyrank {

// Process groups of torch.distributed as values. Describing a group takes time that grows with it,
// so it is done once a group.
//
// Thread rule: safe from any thread.
class POLYRANK_API OwnGroups {
 public:
  // A group, and the one of its ranks that has this object of it.
  struct Membership {
    std::shared_ptr<const Group> group;
    RankPartition rank;
  };

  Membership find(const c10::intrusive_ptr<c10d::ProcessGroup>& process_group);

  void clear();

 private:
  struct Entry {
    c10::weak_intrusive_ptr<c10d::ProcessGroup> process_group;
    Membership membership;
  };

  std::mutex mutex_;
  std::map<const c10d::ProcessGroup*, Entry> groups_;
};

// Those of this process.
OwnGroups& own_groups();

}  // namespace polyrank
