#include <c10/util/Exception.h>
#include <polyrank/dist2/watched_work.h>
#include <polyrank/engine/interpreter_hooks.h>

#include <utility>

namespace polyrank::dist2 {

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
      return ForwardedWork::wait(timeout);
    } catch (const c10::Error& error) {
      members_->explain(members_->label(launch_, number_), error.what_without_backtrace());
    } catch (const std::exception& error) {
      members_->explain(members_->label(launch_, number_), error.what());
    }
  });
}

}  // namespace polyrank::dist2
