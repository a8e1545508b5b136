// Which ranks a process group has that torch.distributed knows nothing of.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <vector>

namespace polyrank {

// A process group that tells by itself, since no registry can.
class POLYRANK_API GlobalRanks {
 public:
  GlobalRanks() = default;
  virtual ~GlobalRanks() = default;
  GlobalRanks(const GlobalRanks&) = delete;
  GlobalRanks& operator=(const GlobalRanks&) = delete;

  // The members' global ranks, in the order of the group.
  virtual const std::vector<std::int64_t>& global_ranks() const = 0;
};

}  // namespace polyrank
