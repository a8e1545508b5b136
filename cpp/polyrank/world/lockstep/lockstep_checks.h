// What a launch in lockstep is refused for, rank by rank.
#pragma once

#include <polyrank/exchange/collective_call.h>
#include <polyrank/world/group_families.h>

namespace polyrank {

// Checks each rank's part as the worlds do whose ranks launch by themselves, with their words:
// check_call() of each, and whether the members' launches agree. Where tensors and numbers are of
// one shape on all ranks, one check is that of all, whatever the world size.
// Throws: CollectiveError; CollectiveMismatchError.
void check_members(const CollectiveCall& call, const Group& group);

}  // namespace polyrank
