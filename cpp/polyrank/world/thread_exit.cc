#include <polyrank/world/thread_exit.h>

namespace polyrank {

namespace {

// thread_locals are destroyed in the reverse order of their making.
class ThreadExit {
 public:
  ThreadExit() = default;
  ~ThreadExit() { exited_.set_value(); }
  ThreadExit(const ThreadExit&) = delete;
  ThreadExit& operator=(const ThreadExit&) = delete;

  const std::shared_future<void>& future() const noexcept { return future_; }

 private:
  std::promise<void> exited_;
  std::shared_future<void> future_ = exited_.get_future().share();
};

}  // namespace

std::shared_future<void> exit_of_this_thread() {
  thread_local const ThreadExit exit;
  return exit.future();
}

}  // namespace polyrank
