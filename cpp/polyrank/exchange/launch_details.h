// What the record keeps of a launch while a trace is on, read off tensors and arguments.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/report/collective_launch.h>

#include <string_view>
#include <vector>

namespace polyrank {

// "float32", as Python spells it; lives as long as the process.
POLYRANK_API std::string_view dtype_name(at::ScalarType dtype);

// The tensors as runs of one dtype and shape.
// Ensures: (1) the counts add up to the number of tensors; (2) the bytes are what the tensors hold,
//          of a LocalTensor its largest rank's, and 0 for sizes that are symbolic.
// Cost: O(number of tensors).
POLYRANK_API std::vector<TensorRun> tensor_runs(at::ArrayRef<at::Tensor> tensors);

// The tensors among an operator's results, of lists as well.
std::vector<at::Tensor> tensors_among(c10::ArrayRef<c10::IValue> results);

// Fills in what `call` tells beside its group and cohorts: operator, reduce op, root or peer, tag,
// tensors, whether it is asynchronous. `results`: what a functional operator returned.
void add_details(const CollectiveCall& call, at::ArrayRef<at::Tensor> results,
                 CollectiveLaunch* launch);

// NOTE [Waiting for tensors]
// A functional collective is waited for by `wait_tensor` on its result, which knows no launch. So
// while a trace is on the results' storages are remembered, by weak reference, until the wait.

// The results of a launch, to be waited for as tensors. Nothing happens for kNotTraced.
// Thread rule, of both: any thread.
POLYRANK_API void expect_tensor_waits(at::ArrayRef<at::Tensor> results, LaunchId launch);

// The program waits for `tensor`: notes it if a launch's result has that storage.
POLYRANK_API void note_tensor_wait(const at::Tensor& tensor);

}  // namespace polyrank
