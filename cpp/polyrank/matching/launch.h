// What one rank launches, as far as the other ranks of the group must know to meet it.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/collective/reduce_op.h>
#include <polyrank/core/export.h>
#include <polyrank/matching/board_memory.h>

#include <cstdint>
#include <optional>
#include <string>

namespace polyrank {

// Dtype and sizes of a tensor.
struct TensorShape {
  BoardText dtype;
  BoardList<std::int64_t> sizes;
  BoardList<std::int64_t> strides = {};  // of dimensions in another order than is usual; else empty

  std::int64_t numel() const noexcept;
  bool operator==(const TensorShape&) const = default;
};

// One rank's part in a collective or message.
struct Launch {
  CollectiveKind kind = CollectiveKind::kNotACollective;
  BoardList<TensorShape> inputs = {};
  BoardList<TensorShape> outputs = {};
  std::optional<ReduceOp> reduce_op = {};
  std::int64_t root = 0;                           // group rank; looked at where the kind has one
  BoardList<std::int64_t> input_split_sizes = {};  // of all_to_all; empty: even
  BoardList<std::int64_t> output_split_sizes = {};
  BoardText where = {};                // "train.py:88"; empty: not known
  bool is_of_several_threads = false;  // of the rank, which have launched in the group
};

// "float32[4, 2]".
POLYRANK_API std::string to_string(const TensorShape& shape);

// "all_reduce(sum) float32[4, 2]", "broadcast(root 1) int64[3]".
POLYRANK_API std::string to_string(const Launch& launch);

}  // namespace polyrank
