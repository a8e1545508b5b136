#include <polyrank/world/rank_work.h>

#include <utility>

namespace polyrank {

RankWork::RankWork(std::int64_t rank, std::shared_ptr<LaunchesInFlight> in_flight,
                   std::vector<at::Tensor> results, c10d::OpType op_type)
    : RecordedWork(static_cast<int>(rank), op_type),
      in_flight_(std::move(in_flight)),
      results_(std::move(results)) {}

c10::intrusive_ptr<c10::ivalue::Future> RankWork::getFuture() {
  wait(kNoTimeout);
  auto future =
      c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
  future->markCompleted(c10::IValue(results_));
  return future;
}

void RankWork::take_over(RankWork* part) {
  results_.insert(results_.end(), part->results_.begin(), part->results_.end());
  for (const LaunchId launch : part->launches()) {
    add_launch(launch);
  }
  ids_.insert(ids_.end(), part->ids_.begin(), part->ids_.end());
  part->ids_.clear();
}

void RankWork::note_seen() {
  for (const LaunchesInFlight::Id id : ids_) {
    in_flight_->waited(id);
  }
  ids_.clear();
}

}  // namespace polyrank
