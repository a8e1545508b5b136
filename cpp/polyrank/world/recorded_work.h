// A Work object that tells the record when the program waits for it.
#pragma once

#include <polyrank/report/collective_record.h>

#include <torch/csrc/distributed/c10d/Work.hpp>

namespace polyrank {

// Base of the Work objects that our worlds return. A subclass calls note_wait() from its wait().
class RecordedWork : public c10d::Work {
 public:
  using c10d::Work::Work;

  // The launch that this waits for; left at kNotTraced for synchronous launches.
  void set_launch(LaunchId launch) noexcept { launch_ = launch; }

 protected:
  void note_wait() const {
    if (launch_ != kNotTraced) {
      collective_record().waited(launch_);
    }
  }

 private:
  LaunchId launch_ = kNotTraced;
};

}  // namespace polyrank
