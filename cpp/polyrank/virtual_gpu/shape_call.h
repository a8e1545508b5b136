// An operator on tensors without bytes.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstddef>

namespace polyrank {

// Whether the operator can give results without bytes: it has a shape function, or is made of
// others.
bool has_shape_function(const c10::OperatorHandle& op);

// Whether PyTorch has a kernel of the operator for CUDA, and makes it of others elsewhere.
bool is_whole_on_cuda_alone(const c10::OperatorHandle& op);

// Runs the operator's shape function on host operands without bytes. Where it would read data, the
// result is a stand-in (reads.h): on top of `stack`, or in an operand that is the CPU's.
// Throws: UnsupportedOpError if it has no shape function, or its result's size depends on data in a
// way that has no largest.
void call_shape_function(const c10::OperatorHandle& op, std::size_t num_arguments,
                         torch::jit::Stack* stack);

}  // namespace polyrank
