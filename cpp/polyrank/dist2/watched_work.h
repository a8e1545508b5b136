// The Work of a group of real processes.
#pragma once

#include <polyrank/dist2/watched_group.h>

#include <memory>
#include <string_view>

namespace polyrank::dist2 {

// Another Work, whose wait() says which ranks are gone if it fails. Its futures are the other's.
//
// Invariant: the name of the launch is a literal.
class WatchedWork final : public c10d::Work {
 public:
  WatchedWork(c10::intrusive_ptr<c10d::Work> work, std::shared_ptr<const Members> members,
              std::string_view launch, std::int64_t number);

  // Throws: as Members::explain().
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

 private:
  c10::intrusive_ptr<c10d::Work> work_;
  std::shared_ptr<const Members> members_;
  std::string_view launch_;
  std::int64_t number_;
};

}  // namespace polyrank::dist2
