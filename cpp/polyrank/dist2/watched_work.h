// The Work of a group of real processes.
#pragma once

#include <polyrank/dist2/watched_group.h>
#include <polyrank/exchange/forwarded_work.h>

#include <memory>
#include <string_view>

namespace polyrank::dist2 {

// Another Work, whose wait() says which ranks are gone if it fails, and returns when the backend's
// thread has let go of it: were that thread the last to do so while the interpreter ends, the
// process would abort, as it does with PyTorch's groups.
//
// Invariant: the name of the launch is a literal.
class WatchedWork final : public ForwardedWork {
 public:
  WatchedWork(c10::intrusive_ptr<c10d::Work> work, std::shared_ptr<const Members> members,
              std::string_view launch, std::int64_t number);

  // Throws: as Members::explain().
  bool wait(std::chrono::milliseconds timeout) override;

 private:
  std::shared_ptr<const Members> members_;
  std::string_view launch_;
  std::int64_t number_;
};

}  // namespace polyrank::dist2
