#include <ATen/core/LegacyTypeDispatch.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/world/fake/fake_exchange.h>
#include <polyrank/world/fake/fake_work.h>

#include <utility>

namespace polyrank {

FakeWork::FakeWork(FakeWorkState state)
    : CompletedWork(std::move(state.results), state.group_rank, state.op_type),
      sequence_number_(state.sequence_number),
      source_rank_(state.source_rank),
      pending_(std::move(state.pending)),
      launches_(std::move(state.launches)),
      tickets_(std::move(state.tickets)),
      unknown_(std::move(state.unknown)),
      refuses_(state.refuses),
      description_(std::move(state.description)) {}

bool FakeWork::wait(std::chrono::milliseconds /*timeout*/) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const LaunchId launch : launches_) {
    collective_record().waited(launch);
  }
  for (const LaunchTicket ticket : tickets_) {
    tell_launch_clock_of_wait(ticket);
  }
  const std::vector<PendingReceive> pending = std::exchange(pending_, {});
  for (const PendingReceive& receive_of_peer : pending) {
    if (!receive(receive_of_peer)) {
      unknown_ = str_cat("a message ", describe_tensor(receive_of_peer.buffer), " with tag ",
                         receive_of_peer.tag, ", for this rank sent none like it");
    }
  }
  if (refuses_ && !unknown_.empty()) {
    raise(CollectiveError(str_cat(
        description_, " needs what can't be derived from what this rank does: ", unknown_,
        ". Options.values is \"refuse\"; \"mirror\" gives zeros, or run the program in a world "
        "where the other ranks are.")));
  }
  return true;
}

bool receive(const PendingReceive& pending) {
  const at::AutoDispatchBelowAutograd below_autograd;
  const at::Tensor message = pending.sent->find(pending.tag, pending.buffer);
  if (!message.defined()) {
    pending.buffer.zero_();
    return false;
  }
  fill_cyclically(pending.buffer, message.to(pending.buffer.device()));
  return true;
}

}  // namespace polyrank
