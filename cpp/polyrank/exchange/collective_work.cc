#include <polyrank/exchange/collective_work.h>

#include <utility>

namespace polyrank {

CompletedWork::CompletedWork(std::vector<at::Tensor> results, int group_rank, c10d::OpType op_type)
    : RecordedWork(group_rank, op_type), results_(std::move(results)) {}

c10::intrusive_ptr<CompletedWork> CompletedWork::make(std::vector<at::Tensor> results) {
  return c10::make_intrusive<CompletedWork>(std::move(results));
}

bool CompletedWork::wait(std::chrono::milliseconds /*timeout*/) {
  note_wait();
  return true;
}

c10::intrusive_ptr<c10::ivalue::Future> CompletedWork::getFuture() {
  auto future =
      c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
  future->markCompleted(c10::IValue(results_));
  return future;
}

c10::intrusive_ptr<c10::ivalue::Future> CompletedWork::getFutureResult() {
  auto future = c10::make_intrusive<c10::ivalue::Future>(c10::IntType::get());
  future->markCompleted(c10::IValue(static_cast<std::int64_t>(c10d::WorkResult::SUCCESS)));
  return future;
}

}  // namespace polyrank
