// What a real process group would refuse.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>

#include <cstdint>
#include <string>

namespace polyrank {

// How messages name the caller: "group \"mesh_tp\" (ranks 8-15), rank 9".
struct FakeCaller {
  std::string description;
  std::int64_t group_rank = 0;
  std::int64_t group_size = 0;
};

// Refuses what NCCL or gloo refuse of one rank's arguments: lists of another length than the
// group's size, outputs that the inputs do not fill, split sizes that do not add up, mixed dtypes
// or devices, tensors that are not contiguous where NCCL takes raw memory, roots and peers outside
// of the group.
// Requires: the units of `call` hold what the operator was given
// Throws: CollectiveError, saying what was given and what is needed.
POLYRANK_API void check_fake_call(const CollectiveCall& call, const FakeCaller& caller);

}  // namespace polyrank
