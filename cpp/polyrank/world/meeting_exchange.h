// What ranks that meet on a board get: from what each brought.
#pragma once

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/matching/match_board.h>

#include <cstddef>
#include <string>
#include <vector>

namespace polyrank {

// What the others must know of a rank's call to meet it. `where`: the user's file and line.
Launch launch_of(const CollectiveCall& call, std::string where);

// What one participant of a meeting gets, for one of its outputs.
struct ParticipantResult {
  std::size_t participant;
  std::size_t output;
  at::Tensor tensor;  // may be an input of some participant
};

// What the participants get for one unit of their calls: exchange()'s, the same that lockstep runs,
// or the message.
// Requires: all have come, `calls` are theirs, and their launches agree
// Throws: CollectiveError if tensors do not fit, naming ranks and shapes: also where a result does
//         not fit the output that is to hold it.
std::vector<ParticipantResult> results_of(const Meeting& meeting,
                                          const std::vector<CollectiveCall*>& calls,
                                          std::size_t unit);

// Keeps gradients and modes of the thread that carries a meeting out away from what it does to
// tensors, which is nobody's gradient and no mode's of the rank that happens to come last.
class BelowAutogradGuard {
 private:
  at::AutoDispatchBelowADInplaceOrView below_autograd_;
  c10::impl::ExcludeDispatchKeyGuard below_python_{
      c10::DispatchKeySet({c10::DispatchKey::Python, c10::DispatchKey::PythonTLSSnapshot})};
};

}  // namespace polyrank
