// A Work object that tells the record when the program waits for it.
#pragma once

#include <polyrank/report/collective_record.h>

#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

namespace polyrank {

// Base of the Work objects that our worlds return. A subclass calls note_wait() from its wait().
class RecordedWork : public c10d::Work {
 public:
  using c10d::Work::Work;

  // A launch that this waits for; nothing if it is not in a trace.
  void add_launch(LaunchId launch) {
    if (launch != kNotTraced) {
      launches_.push_back(launch);
    }
  }

  const std::vector<LaunchId>& launches() const noexcept { return launches_; }

 protected:
  void note_wait() const {
    for (const LaunchId launch : launches_) {
      collective_record().waited(launch);
    }
  }

 private:
  std::vector<LaunchId> launches_;  // the asynchronous ones
};

}  // namespace polyrank
