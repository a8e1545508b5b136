// What a collective does to cohorts.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/group/group_family.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace polyrank {

// Which members of a group hold the same result.
enum class OutputKind : std::uint8_t {
  kSharedByGroup,  // all of them: all_reduce, all_gather, broadcast
  kOwnPerMember,   // each its own: reduce_scatter, all_to_all, scatter
  kRootOnly,       // one member gets something, the others keep what they had: reduce, gather
};

// The distinct computations of a collective on a family of groups. Groups whose members hold the
// same tuple of cohorts give the same results, so each tuple is computed once.
struct Regrouping {
  // Where a cohort of the result comes from.
  struct Source {
    std::int32_t tuple;        // index into input_cohorts, or -1: the old value stays
    std::int32_t position;     // the member's position, for kOwnPerMember; 0 otherwise
    std::int32_t kept_cohort;  // where tuple == -1, the cohort of the old partition; -1 otherwise
  };

  // Over the old partition's ranks. Ranks that get nothing (in no group that runs, or not the root
  // of one) keep their cohort, and share none with ranks that do.
  RankPartition result;
  // The distinct tuples: for each member, in group order, its cohort of the old partition.
  std::vector<std::vector<std::int32_t>> input_cohorts;
  // One per cohort of the result.
  std::vector<Source> sources;
};

// Groups with a member outside of partition.ranks() do not run.
// Requires: for kRootOnly, `root` is a group rank of the family
// Ensures: (1) ranks that get something share a cohort of the result iff their groups have one
// tuple
//          and, for kOwnPerMember, they have one position; (2) ranks that get nothing share a
//          cohort iff they did before; (3) no tuple occurs twice.
// Cost: O(world size) the first time on a thread, a look-up afterwards.
POLYRANK_API std::shared_ptr<const Regrouping> regroup(const RankPartition& partition,
                                                       const GroupFamily& family, OutputKind kind,
                                                       std::int32_t root = 0);

}  // namespace polyrank
