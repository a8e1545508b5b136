// Carries a meeting of rank threads out: from what each brought to what each holds.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/matching/match_board.h>

#include <memory>

namespace polyrank {

// What a rank brings to a meeting; the payload of the matching layer.
struct RankCall {
  CollectiveCall call;
};

// What the others must know of a rank's call to meet it. `where`: the user's file and line.
Launch launch_of(const CollectiveCall& call, std::string where);

// Writes what each participant gets into its own tensors. Collectives are exchange()'s, the same
// that lockstep runs.
// Requires: all participants have come, with RankCalls, and their launches agree
// Throws: CollectiveError if tensors do not fit, naming ranks and shapes.
void carry_out(const Meeting& meeting);

}  // namespace polyrank
