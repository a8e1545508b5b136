// What a collective gives one rank, from what that rank alone put in.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>

#include <cstdint>
#include <string>

namespace polyrank {

// Writes what the rank gets if every rank of its group did what it did, with the same values; see
// NOTE [Values in the fake world]. It is what exchange() gives a member of a group whose members
// all put in the same, whatever the number of members; sums are rounded as fold_equal_members()
// tells.
// Where a place takes more or fewer elements than the assumption gives it, the elements are
// repeated from the start, or cut off.
// Requires: the kind moves tensors and is not a send or receive
// Ensures: (1) all outputs that the rank gets are written, from its inputs or with zeros
//          (2) the result is empty, or says which values the assumption says nothing about
// Cost: one pass over the outputs.
POLYRANK_API std::string mirror(const CollectiveCall& call, std::int64_t group_rank,
                                std::int64_t group_size);

// Writes what PyTorch's fake group writes for the same call: inputs, copied and not reduced; where
// it leaves outputs as they are, so does this.
// Requires: as mirror()
// Source: torch 2.13.0, torch/csrc/distributed/c10d/FakeProcessGroup.hpp.
POLYRANK_API std::string imitate_pytorch(const CollectiveCall& call, std::int64_t group_rank,
                                         std::int64_t group_size);

// Fills `output` with the elements of `source` from the start, again and again; with zeros, and
// gives false, if there are none though some are needed.
// Requires: one dtype
bool fill_cyclically(const at::Tensor& output, const at::Tensor& source);

}  // namespace polyrank
