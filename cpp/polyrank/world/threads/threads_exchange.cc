#include <ATen/Functions.h>
#include <polyrank/world/threads/threads_exchange.h>

#include <unordered_map>
#include <vector>

namespace polyrank {

namespace {

using Calls = std::vector<CollectiveCall*>;  // by participant

Calls calls_of(const Meeting& meeting) {
  Calls calls;
  calls.reserve(meeting.payloads.size());
  for (const auto& payload : meeting.payloads) {
    calls.push_back(&std::static_pointer_cast<RankCall>(payload)->call);
  }
  return calls;
}

void write(const at::Tensor& result, const at::Tensor& target) {
  if (!target.is_same(result)) {
    target.copy_(result.sizes() == target.sizes() ? result : result.reshape(target.sizes()));
  }
}

// Results that are inputs become copies: an output may lie on another's input.
void detach_from_inputs(const Calls& calls, std::size_t unit,
                        std::vector<ParticipantResult>* results) {
  std::unordered_map<const c10::TensorImpl*, at::Tensor> copies;
  for (const CollectiveCall* call : calls) {
    for (const at::Tensor& input : call->units[unit].inputs) {
      copies.emplace(input.unsafeGetTensorImpl(), at::Tensor());
    }
  }
  for (ParticipantResult& result : *results) {
    const auto found = copies.find(result.tensor.unsafeGetTensorImpl());
    if (found == copies.end()) {
      continue;
    }
    if (!found->second.defined()) {
      found->second = result.tensor.clone();
    }
    result.tensor = found->second;
  }
}

}  // namespace

void carry_out(const Meeting& meeting) {
  const BelowAutogradGuard below_autograd;
  const Calls calls = calls_of(meeting);
  for (std::size_t unit = 0; unit < calls.front()->units.size(); ++unit) {
    std::vector<ParticipantResult> results = results_of(meeting, calls, unit);
    if (!meeting.is_message && calls.front()->spec->kind != CollectiveKind::kBroadcast) {
      detach_from_inputs(calls, unit, &results);
    }
    for (const ParticipantResult& result : results) {
      write(result.tensor, calls[result.participant]->units[unit].outputs[result.output]);
    }
  }
}

}  // namespace polyrank
