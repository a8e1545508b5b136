// What reductions stage on the GPU, where several blocks of threads work on one result.
#pragma once

#include <polyrank/virtual_gpu/inner_sizes.h>
#include <polyrank/virtual_gpu/operator_arguments.h>

namespace polyrank {

// NOTE [What reductions stage]
// PyTorch's kernel for reductions gives each result to one block of threads, unless there are too
// few results for all multiprocessors and each has many values. Then several blocks share a result,
// and leave what they have in memory, with a semaphore for each result's last one. Along rows that
// is little. Along columns each thread of a block has results of its own, and PyTorch allocates for
// all threads what each has for all results: sums of the columns of a matrix of 16384 x 4096 take
// 132 MiB. Source: PyTorch's aten/src/ATen/native/cuda/Reduce.cuh, setReduceConfig,
// global_memory_size.

// Of `self` along `dim`; no dim are all.
PieceSizes staged_by_reduction(const OperatorArguments& call);
PieceSizes staged_by_variance(const OperatorArguments& call);

}  // namespace polyrank
