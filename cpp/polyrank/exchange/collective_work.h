// The Work object of collectives that are complete when they return.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/recorded_work.h>

#include <chrono>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

namespace polyrank {

// In lockstep a collective has happened by the time that its launch returns, so there is nothing
// to wait for, asked for asynchronously or not.
class POLYRANK_API CompletedWork : public RecordedWork {
 public:
  // `results`: the tensors that the collective wrote, as Work::result() gives them.
  static c10::intrusive_ptr<CompletedWork> make(std::vector<at::Tensor> results);

  explicit CompletedWork(std::vector<at::Tensor> results, int group_rank = -1,
                         c10d::OpType op_type = c10d::OpType::UNKNOWN);

  bool isCompleted() override { return true; }
  bool isSuccess() const override { return true; }
  bool wait(std::chrono::milliseconds timeout) override;
  void synchronize() override {}
  void blockCurrentStream() override {}
  std::vector<at::Tensor> result() override { return results_; }

  // A completed future; its value is the list of the tensors written.
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

  // A completed future that tells success.
  c10::intrusive_ptr<c10::ivalue::Future> getFutureResult() override;

 private:
  std::vector<at::Tensor> results_;
};

}  // namespace polyrank
