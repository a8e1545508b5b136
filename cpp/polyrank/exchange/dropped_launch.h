// What a program has where a collective is left out of it.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/exchange/collective_call.h>

#include <cstdint>
#include <vector>

namespace polyrank {

// The values that the operator of `call` returns if it does not run.
// Ensures: (1) tensors that it would have written are as they were; a Work is complete
//          (2) what a functional operator gives is a copy of its input, or where the shape is
//              another, zeros of the shape that it would have had
// `group_size`: of the launch's group.
// Throws: c10::Error if split sizes differ between ranks.
std::vector<c10::IValue> values_without(const CollectiveCall& call,
                                        c10::ArrayRef<c10::IValue> arguments,
                                        std::int64_t group_size);

}  // namespace polyrank
