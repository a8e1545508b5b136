// The operators `polyrank::gradient_of_prod` and the like; NOTE [Gradients alone] in
// gradients_alone.cc.
#pragma once

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace polyrank {

// Of PyTorch's, whose gradients ask for tensor subclasses.
struct DifferentiatedOp {
  const char* name;
  const char* overload;
  // The arguments whose gradients PyTorch has such a formula for. Results after the first have
  // none.
  std::vector<std::size_t> differentiated;
};
const std::vector<DifferentiatedOp>& differentiated_ops();

// How often results can be differentiated.
inline constexpr std::size_t kMaxDerivative = 4;

// A row's operator (order 0), or what gives the gradients of the order before.
struct Derivative {
  std::size_t row;
  std::size_t order;

  const DifferentiatedOp& original() const { return differentiated_ops()[row]; }
  std::string full_name() const;
  std::string name_with_overload() const;
  // Throws: c10::Error if there is none, past kMaxDerivative.
  c10::OperatorHandle op() const;

  Derivative next() const { return {.row = row, .order = order + 1}; }
  Derivative before() const { return {.row = row, .order = order - 1}; }
};

using OpArguments = std::vector<c10::IValue>;

// What a gradient is called with.
struct GradientArguments {
  c10::List<std::optional<at::Tensor>> gradients;  // of the results
  OpArguments before;                              // of the order before
  c10::List<bool> needed;                          // which of the tensors in `before` need one
  bool creates_graph;                              // whether it will be differentiated again

  static GradientArguments read(c10::ArrayRef<c10::IValue> all);
  OpArguments written() const;
};

// What autograd found for a tensor; the operators return it beside the gradients, whose lists can't
// have holes.
inline constexpr std::int64_t kNothing = 0;
inline constexpr std::int64_t kConstant = 1;
inline constexpr std::int64_t kDifferentiable = 2;

// The tensors among arguments, also in lists; and arguments with others in their places.
std::vector<at::Tensor> tensors_of(OpArguments arguments);
OpArguments with_tensors(OpArguments arguments, const std::vector<at::Tensor>& tensors);

// What an operator of any order returned; of a gradient without what was found.
std::vector<at::Tensor> results_of(const torch::jit::Stack& stack);

// The gradients that are needed, in the order of their tensors; undefined where there is none.
// Requires: autograd is on.
std::vector<at::Tensor> differentiate(const Derivative& derivative,
                                      const GradientArguments& arguments, bool creates_graph);

}  // namespace polyrank
