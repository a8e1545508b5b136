// What a run did on the wire: launched collectives, counted by kind and process group.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

// One launch, by all the groups that run it at that moment.
struct CollectiveLaunch {
  CollectiveKind kind = CollectiveKind::kNotACollective;
  std::string group_name;
  std::string group_label;  // what people call the group: "mesh_dp", "world", "ranks 0-3"
  std::int64_t group_size = 0;
  std::int64_t num_groups = 0;    // groups that ran
  std::int64_t num_computed = 0;  // groups whose result was computed; the others share theirs
  std::int64_t input_bytes = 0;   // of one rank; the largest where ranks differ
};

// All launches of one kind on one group.
struct CollectiveTotals {
  CollectiveKind kind = CollectiveKind::kNotACollective;
  std::string group_name;
  std::string group_label;
  std::int64_t group_size = 0;
  std::int64_t num_groups = 0;  // of the latest launch
  std::int64_t num_launches = 0;
  std::int64_t input_bytes = 0;    // of one rank, all launches together
  std::int64_t rank_launches = 0;  // launches that ranks would make in processes of their own
  std::int64_t num_computed = 0;
};

// Thread rule: safe from any thread.
class POLYRANK_API CollectiveReport {
 public:
  void record(const CollectiveLaunch& launch);

  // One row per kind and group, ordered by group label, group name and kind.
  std::vector<CollectiveTotals> rows() const;

  void reset();

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, CollectiveKind>, CollectiveTotals> totals_;
};

// The report of this process.
POLYRANK_API CollectiveReport& collective_report();

}  // namespace polyrank
