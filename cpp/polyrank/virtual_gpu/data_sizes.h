// Operators whose results have as many elements as the data says, on tensors without bytes.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstddef>

namespace polyrank {

// Whether the size of the result depends on data: by the operator, or because it indexes by a mask.
bool has_size_of_data(const c10::OperatorHandle& op, std::size_t num_arguments,
                      const torch::jit::Stack& stack);

// Gives the result the largest size that it can have (every element is chosen, all are distinct),
// and keeps that as a read (reads.h).
// Requires: has_size_of_data(), of host operands without bytes
// Throws: UnsupportedOpError if there is no largest size.
void call_with_largest_size(const c10::OperatorHandle& op, std::size_t num_arguments,
                            torch::jit::Stack* stack);

}  // namespace polyrank
