#include <polyrank/engine/interpreter_hooks.h>

namespace polyrank {

InterpreterHooks& interpreter_hooks() noexcept {
  static InterpreterHooks hooks;
  return hooks;
}

}  // namespace polyrank
