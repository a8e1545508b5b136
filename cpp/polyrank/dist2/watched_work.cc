#include <c10/util/Exception.h>
#include <polyrank/dist2/watched_work.h>
#include <polyrank/engine/interpreter_hooks.h>

#include <chrono>
#include <thread>
#include <utility>

namespace polyrank::dist2 {

namespace {

// The backend's thread drops its reference some microseconds after it has completed the work.
void wait_until_sole_owner(const c10::intrusive_ptr<c10d::Work>& work) {
  constexpr std::chrono::milliseconds kAtMost{1};
  const auto deadline = std::chrono::steady_clock::now() + kAtMost;
  while (work.use_count() > 1 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
}

}  // namespace

WatchedWork::WatchedWork(c10::intrusive_ptr<c10d::Work> work,
                         std::shared_ptr<const Members> members, std::string_view launch,
                         std::int64_t number)
    : ForwardedWork(std::move(work), members->rank()),
      members_(std::move(members)),
      launch_(launch),
      number_(number) {}

bool WatchedWork::wait(std::chrono::milliseconds timeout) {
  return translating_errors([&] {
    try {
      const bool is_done = ForwardedWork::wait(timeout);
      wait_until_sole_owner(other());
      return is_done;
    } catch (const c10::Error& error) {
      members_->explain(members_->label(launch_, number_), error.what_without_backtrace());
    } catch (const std::exception& error) {
      members_->explain(members_->label(launch_, number_), error.what());
    }
  });
}

}  // namespace polyrank::dist2
