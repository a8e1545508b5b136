// A Work of somebody else's that tells the record when the program waits for it.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/recorded_work.h>

#include <chrono>
#include <vector>

namespace polyrank {

// Answers all questions as the other Work does. Its futures are the other's.
//
// Invariant: the other is not null.
class POLYRANK_API ForwardedWork : public RecordedWork {
 public:
  explicit ForwardedWork(c10::intrusive_ptr<c10d::Work> work, int group_rank = -1);

  bool wait(std::chrono::milliseconds timeout) override;

  bool isCompleted() override { return work_->isCompleted(); }
  bool isSuccess() const override { return work_->isSuccess(); }
  std::exception_ptr exception() const override { return work_->exception(); }
  int sourceRank() const override { return work_->sourceRank(); }
  std::vector<at::Tensor> result() override { return work_->result(); }
  void synchronize() override { work_->synchronize(); }
  void blockCurrentStream() override { work_->blockCurrentStream(); }
  void abort() override { work_->abort(); }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return work_->getFuture(); }
  c10::intrusive_ptr<c10::ivalue::Future> getFutureResult() override {
    return work_->getFutureResult();
  }
  float getDuration() const override { return work_->getDuration(); }
  std::uint64_t getSequencenumber() const override { return work_->getSequencenumber(); }

 protected:
  const c10::intrusive_ptr<c10d::Work>& other() const noexcept { return work_; }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
};

}  // namespace polyrank
