#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/random_turn.h>

namespace polyrank {

namespace {

std::recursive_mutex& draws() {
  static std::recursive_mutex mutex;
  return mutex;
}

}  // namespace

RandomTurn::RandomTurn() : lock_(draws(), std::try_to_lock) {
  if (lock_.owns_lock()) {
    return;
  }
  if (interpreter_hooks().without_interpreter == nullptr) {
    lock_.lock();
  } else {
    interpreter_hooks().without_interpreter([this] { lock_.lock(); });
  }
}

}  // namespace polyrank
