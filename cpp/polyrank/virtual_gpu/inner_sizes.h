// How large the pieces are that operators of CUDA allocate for themselves.
#pragma once

#include <c10/util/SmallVector.h>
#include <polyrank/virtual_gpu/operator_arguments.h>

#include <cstdint>

namespace polyrank {

using PieceSizes = c10::SmallVector<std::int64_t, 8>;  // bytes

// Each of the calls that its name says, for the rows of inner_memory.cc. Operands are the host's:
// they have sizes and no bytes.
PieceSizes copied_matrices(const OperatorArguments& call);
PieceSizes flash_backward_heads_first(const OperatorArguments& call);
PieceSizes flash_backward_heads_last(const OperatorArguments& call);
PieceSizes efficient_backward_heads_first(const OperatorArguments& call);
PieceSizes efficient_backward_heads_last(const OperatorArguments& call);
PieceSizes embedding_backward(const OperatorArguments& call);
PieceSizes sort_copies(const OperatorArguments& call);
PieceSizes scan_copies(const OperatorArguments& call);
PieceSizes places_of_masks(const OperatorArguments& call);
PieceSizes index_put_with_masks(const OperatorArguments& call);
PieceSizes layer_norm_backward(const OperatorArguments& call);
PieceSizes rms_norm_backward(const OperatorArguments& call);
PieceSizes foreach_norm(const OperatorArguments& call);
PieceSizes grouped_matmul(const OperatorArguments& call);
PieceSizes host_copy(const OperatorArguments& call);

}  // namespace polyrank
