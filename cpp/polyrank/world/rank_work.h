// What the Work objects of ranks on their own have in common.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/recorded_work.h>
#include <polyrank/world/launches_in_flight.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace polyrank {

// Waits for launches of one rank.
//
// Thread rule: the subclass's.
class POLYRANK_API RankWork : public RecordedWork {
 public:
  // `in_flight`: the rank's. `results`: the tensors written.
  RankWork(std::int64_t rank, std::shared_ptr<LaunchesInFlight> in_flight,
           std::vector<at::Tensor> results, c10d::OpType op_type);

  void synchronize() override { wait(kNoTimeout); }
  std::vector<at::Tensor> result() override { return results_; }
  // A future that is complete: waits first. Its value is the list of the tensors written.
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

  // Tells the rank's launches in flight when it is waited for.
  void add_in_flight(LaunchesInFlight::Id id) { ids_.push_back(id); }

 protected:
  // Results and launches of the other become this one's.
  void take_over(RankWork* part);
  // The program waits for it, or sees that it is complete.
  void note_seen();

 private:
  std::shared_ptr<LaunchesInFlight> in_flight_;
  std::vector<at::Tensor> results_;
  std::vector<LaunchesInFlight::Id> ids_;
};

}  // namespace polyrank
