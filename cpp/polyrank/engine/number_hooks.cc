#include <polyrank/engine/number_hooks.h>

namespace polyrank {

NumberHooks& number_hooks() noexcept {
  static NumberHooks hooks;
  return hooks;
}

NumberCaller caller() {
  NumberCaller (*const ask)() = number_hooks().caller.load(std::memory_order_acquire);
  return ask == nullptr ? NumberCaller::kTorch : ask();
}

}  // namespace polyrank
