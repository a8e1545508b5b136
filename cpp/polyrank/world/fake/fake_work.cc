#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/world/fake/fake_exchange.h>
#include <polyrank/world/fake/fake_work.h>

#include <algorithm>
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

c10::intrusive_ptr<c10::ivalue::Future> FakeWork::getFuture() {
  const std::vector<at::Tensor> results = result();
  const auto on_gpu = std::ranges::find_if(
      results, [](const at::Tensor& tensor) { return tensor.defined() && tensor.is_cuda(); });
  const std::lock_guard<std::mutex> lock(mutex_);
  if (tickets_.empty() || on_gpu == results.end()) {
    return CompletedWork::getFuture();
  }
  // A future keeps what was on the current streams as it was completed, and lets others wait for
  // that. A stream of its own has the waits for the launch alone.
  const c10::Device device = on_gpu->device();
  const c10::impl::VirtualGuardImpl gpu(device.type());
  const c10::StreamGuard on_own_stream(gpu.getStreamFromGlobalPool(device));
  for (const LaunchTicket ticket : tickets_) {
    tell_launch_clock_of_wait(ticket);
  }
  auto future = c10::make_intrusive<c10::ivalue::Future>(
      c10::ListType::create(c10::TensorType::get()), std::vector<c10::Device>{device});
  future->markCompleted(c10::IValue(results));
  return future;
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
