// The arguments of one call, by their names.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace polyrank {

// Requires: the arguments are on top of the stack, which outlives this.
class OperatorArguments {
 public:
  OperatorArguments(const c10::OperatorHandle& op, const torch::jit::Stack& stack)
      : op_(op), stack_(stack) {}

  // Undefined if it is None, or the operator has no such argument; so with the others.
  at::Tensor tensor(std::string_view name) const;
  std::vector<at::Tensor> tensors(std::string_view name) const;  // those that are defined
  bool flag(std::string_view name) const;
  std::optional<std::int64_t> integer(std::string_view name) const;
  std::vector<std::int64_t> integers(std::string_view name) const;  // one is a list of one

 private:
  const c10::IValue* find(std::string_view name) const;

  const c10::OperatorHandle& op_;
  const torch::jit::Stack& stack_;
};

}  // namespace polyrank
