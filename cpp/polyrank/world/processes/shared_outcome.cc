#include <polyrank/world/meeting_exchange.h>
#include <polyrank/world/processes/shared_outcome.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace polyrank {

namespace {

// The tensor in board memory; where it is what a participant brought, that.
SharedTensor share_result(const at::Tensor& tensor,
                          const std::unordered_map<const void*, const SharedTensor*>& brought) {
  if (!tensor.is_meta() && !tensor.is_sparse() && tensor.is_contiguous()) {
    const auto found = brought.find(tensor.const_data_ptr());
    if (found != brought.end() && found->second->sizes.size() == tensor.sizes().size() &&
        tensor.sizes().equals(found->second->sizes)) {
      return share_values_of(*found->second);
    }
  }
  return share(tensor);
}

void write(const SharedTensor& from, const at::Tensor& to) {
  if (!from.has_values) {
    return;
  }
  if (!from.parts.empty()) {
    to.copy_(tensor_of(from));
    return;
  }
  if (to.is_cpu() && to.is_contiguous()) {
    const std::size_t num_bytes =
        static_cast<std::size_t>(to.numel()) * c10::elementSize(to.scalar_type());
    if (num_bytes > 0) {
      std::memcpy(to.mutable_data_ptr(), from.values, num_bytes);
    }
    return;
  }
  to.copy_(tensor_of(from).reshape(to.sizes()));
}

}  // namespace

std::shared_ptr<SharedOutcome> begin_fold(const Meeting& meeting) {
  if (meeting.is_message) {
    return nullptr;
  }
  BoardList<SharedCall*> calls;
  for (const std::shared_ptr<void>& payload : meeting.payloads) {
    calls.push_back(static_cast<SharedCall*>(payload.get()));
  }
  auto fold = SharedFold::of(calls);
  if (fold == nullptr) {
    return nullptr;
  }
  const CollectiveKind kind = calls.front()->spec->kind;
  auto outcome = make_board_shared<SharedOutcome>();
  const std::byte* values = fold->values();
  for (std::size_t participant = 0; participant < calls.size(); ++participant) {
    if (gives_the_root_alone(kind) && static_cast<std::int64_t>(participant) != calls[0]->root) {
      continue;
    }
    const SharedTensor& output = calls[participant]->units.front().outputs.front();
    outcome->gifts.push_back(
        {.participant = participant, .unit = 0, .output = 0, .tensor = outcome->tensors.size()});
    outcome->tensors.push_back(
        {.dtype = output.dtype, .sizes = output.sizes, .has_values = true, .values = values});
    if (kind == CollectiveKind::kReduceScatter) {
      values += fold->num_bytes() / calls.size();
    }
  }
  outcome->fold = std::move(fold);
  return outcome;
}

std::shared_ptr<SharedOutcome> carry_out_shared(const Meeting& meeting) {
  const BelowAutogradGuard below_autograd;
  std::vector<CollectiveCall> calls;
  std::vector<CollectiveCall*> pointers;
  std::unordered_map<const void*, const SharedTensor*> brought;
  calls.reserve(meeting.payloads.size());
  for (const std::shared_ptr<void>& payload : meeting.payloads) {
    const auto& shared = *static_cast<const SharedCall*>(payload.get());
    for (const SharedUnit& unit : shared.units) {
      for (const SharedTensor& input : unit.inputs) {
        brought.emplace(input.values, &input);
      }
    }
    pointers.push_back(&calls.emplace_back(call_of(shared)));
  }
  auto outcome = make_board_shared<SharedOutcome>();
  for (std::size_t unit = 0; unit < calls.front().units.size(); ++unit) {
    std::unordered_map<const c10::TensorImpl*, std::size_t> known;
    for (const ParticipantResult& result : results_of(meeting, pointers, unit)) {
      const auto [found, is_new] =
          known.emplace(result.tensor.unsafeGetTensorImpl(), outcome->tensors.size());
      if (is_new) {
        outcome->tensors.push_back(share_result(result.tensor, brought));
      }
      outcome->gifts.push_back({.participant = result.participant,
                                .unit = unit,
                                .output = result.output,
                                .tensor = found->second});
    }
  }
  std::ranges::stable_sort(outcome->gifts, {}, &SharedOutcome::Gift::participant);
  return outcome;
}

void take_gifts(const SharedOutcome& outcome, std::size_t participant,
                const std::vector<CollectiveUnit>& units) {
  const BelowAutogradGuard below_autograd;
  for (const SharedOutcome::Gift& gift : std::ranges::equal_range(
           outcome.gifts, participant, {}, &SharedOutcome::Gift::participant)) {
    write(outcome.tensors[gift.tensor], units[gift.unit].outputs[gift.output]);
  }
}

}  // namespace polyrank
