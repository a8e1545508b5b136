// Carries a meeting of ranks that are processes out: from what each brought to what each gets.
#pragma once

#include <polyrank/matching/match_board.h>
#include <polyrank/world/processes/shared_call.h>
#include <polyrank/world/processes/shared_fold.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace polyrank {

// What the participants of a meeting get. It lies in board memory, also where it is the memory of
// what one of them brought, which lives as long.
struct SharedOutcome {
  struct Gift {
    std::size_t participant;
    std::size_t unit;
    std::size_t output;
    std::size_t tensor;  // which of `tensors`
  };
  BoardList<SharedTensor> tensors = {};
  BoardList<Gift> gifts = {};             // by participant, from the first to the last
  std::shared_ptr<SharedFold> fold = {};  // which `tensors` wait for; null: nothing
};

// The outcome of a reduction of large tensors, but for its fold, in which all can take a part; null
// for any other meeting. Requires and throws as below.
std::shared_ptr<SharedOutcome> begin_fold(const Meeting& meeting);

// Requires: all participants have come, with SharedCalls, and their launches agree; the board
//           memory is shared
// Throws: as results_of().
std::shared_ptr<SharedOutcome> carry_out_shared(const Meeting& meeting);

// Copies what a participant gets to its own tensors: by unit, by output.
void take_gifts(const SharedOutcome& outcome, std::size_t participant,
                const std::vector<CollectiveUnit>& units);

}  // namespace polyrank
