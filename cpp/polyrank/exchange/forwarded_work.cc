#include <polyrank/exchange/forwarded_work.h>

#include <utility>

namespace polyrank {

ForwardedWork::ForwardedWork(c10::intrusive_ptr<c10d::Work> work, int group_rank)
    : RecordedWork(group_rank, work->retrieveOpType()), work_(std::move(work)) {}

bool ForwardedWork::wait(std::chrono::milliseconds timeout) {
  note_wait();
  return work_->wait(timeout);
}

}  // namespace polyrank
