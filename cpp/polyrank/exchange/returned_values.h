// What an operator of the table returns, made of what its launch gave.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/collective/collective_table.h>

#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

namespace polyrank {

// The values that go onto the stack, in order.
// `results`: of a functional operator, one for each collective of the launch.
// `work`: to wait with; null for operators that return none.
std::vector<c10::IValue> returned_values(const CollectiveSpec& spec,
                                         c10::ArrayRef<c10::IValue> arguments,
                                         std::vector<at::Tensor> results,
                                         c10::intrusive_ptr<c10d::Work> work);

}  // namespace polyrank
