// Short ways to call operators as the dispatcher does, in tests.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <utility>

namespace polyrank {

inline c10::OperatorHandle find_operator(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
}

template <typename... Arguments>
torch::jit::Stack stack_of(Arguments&&... arguments) {
  torch::jit::Stack stack;
  torch::jit::push(stack, std::forward<Arguments>(arguments)...);
  return stack;
}

}  // namespace polyrank
