// Results of shape functions, remembered.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <polyrank/core/export.h>

#include <cstddef>
#include <functional>

namespace polyrank {

// NOTE [Known shapes]
// A program gives its operators the same shapes step after step, and many shape functions of
// PyTorch's are Python code that takes tens of microseconds. What one gave is kept by all that it
// was given: the operator, sizes, strides and dtypes of tensors, numbers, the default dtype. That
// goes for PyTorch's own operators whose results are new tensors, and for operands that have no
// data and no symbolic sizes; others are asked each time. (FakeTensorMode keeps results by the
// same: torch/_subclasses/fake_tensor.py, _cached_dispatch_impl.)

// Has `shape_function` take the operator's arguments off `stack` and put its results there, or
// puts there new tensors as it gave for the same arguments before.
// Requires: operands are meta tensors, or the CPU's.
// Throws: what `shape_function` does, each time.
POLYRANK_API void call_or_remember(const c10::OperatorHandle& op, std::size_t num_arguments,
                                   torch::jit::Stack* stack,
                                   const std::function<void()>& shape_function);

}  // namespace polyrank
