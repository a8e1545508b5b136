// Ranks within process groups, as numbers that differ between ranks.
#pragma once

#include <c10/core/SymInt.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/group/group_family.h>

namespace polyrank {

// The answers of get_rank(), get_world_size(), get_group_rank() and get_global_rank() on each of
// `ranks`: plain ints where all ranks agree.
//
// Thread rule: free to be called by any number of threads.
// Throws, all of them: UsageError if `ranks` is empty.

// Each rank itself.
// Cost: O(1) in the number of ranks from the second time on.
POLYRANK_API c10::SymInt own_ranks(const RankSet& ranks);

// Each rank's place in its group of the family; -1 where it is in none.
// Cost: as own_ranks().
POLYRANK_API c10::SymInt own_group_ranks(const GroupFamily& family, const RankSet& ranks);

// The size of each rank's group of the family; -1 where it is in none, as c10d says it there.
// Cost: O(1) where all are in one.
POLYRANK_API c10::SymInt own_group_sizes(const GroupFamily& family, const RankSet& ranks);

// The place of `global_rank`, which may differ between ranks, in each rank's group; -1 where a rank
// is in no group of the family. Ranks on which the number has no value are left out.
// Throws: UsageError if it is in no rank's group, DivergenceError if not in that of some.
POLYRANK_API c10::SymInt group_ranks_of(const GroupFamily& family, const RankSet& ranks,
                                        const c10::SymInt& global_rank);

// The rank at the place `group_rank` of each rank's group, likewise.
// Throws: UsageError if no rank's group has such a place, DivergenceError if that of some has none.
POLYRANK_API c10::SymInt global_ranks_of(const GroupFamily& family, const RankSet& ranks,
                                         const c10::SymInt& group_rank);

}  // namespace polyrank
