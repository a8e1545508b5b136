// What a real process group would refuse of one rank's arguments.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace polyrank {

// Who launches a call.
struct Caller {
  std::int64_t group_size = 0;
  // Nothing: every member of the group launches this call.
  std::optional<std::int64_t> group_rank = {};
  // How messages name a member: "group \"mesh_tp\" (ranks 8-15), rank 9".
  std::function<std::string(std::int64_t group_rank)> describe;
  // Whether each rank gives a list of which only the root's counts, as in lockstep, where all ranks
  // run one line.
  bool all_give_lists = false;
};

// NOTE [What every world refuses]
// Each world checks the launch of each rank by check_call() before anything else, so that a mistake
// has one text wherever the program runs. The rules are those of the backend that takes tensors of
// the device: gloo on the CPU, NCCL elsewhere (exchange/backend_rules.h).
//
// Functional collectives (`_c10d_functional`) take what they need of their inputs themselves: of
// theirs, only roots, peers, dtypes and the lengths of lists are checked.

// Refuses lists of another length than the group's size, outputs that the inputs do not fill, split
// sizes that do not add up, mixed dtypes or devices, dtypes that the backend does not take, memory
// that it would read in another order, roots and peers outside of the group. Numbers that differ
// between ranks, and tensors with symbolic sizes, pass unseen.
// Requires: the units of `call` hold what the operator was given
// Throws: CollectiveError, saying what was given and what is needed.
POLYRANK_API void check_call(const CollectiveCall& call, const Caller& caller);

}  // namespace polyrank
