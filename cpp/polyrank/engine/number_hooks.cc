#include <polyrank/engine/number_hooks.h>

namespace polyrank {

NumberHooks& number_hooks() noexcept {
  static NumberHooks hooks;
  return hooks;
}

Caller caller() {
  Caller (*const ask)() = number_hooks().caller.load(std::memory_order_acquire);
  return ask == nullptr ? Caller::kTorch : ask();
}

}  // namespace polyrank
