// Carries a meeting of rank threads out: from what each brought to what each holds.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/matching/match_board.h>
#include <polyrank/world/meeting_exchange.h>

namespace polyrank {

// What a rank brings to a meeting; the payload of the matching layer.
struct RankCall {
  CollectiveCall call;
};

// Writes what each participant gets into its own tensors.
// Requires: all participants have come, with RankCalls, and their launches agree
// Throws: as results_of().
void carry_out(const Meeting& meeting);

}  // namespace polyrank
