// What a rank that is a process brings to a meeting, in memory that all ranks see.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/matching/board_memory.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace polyrank {

struct FreeBoardMemory {
  void operator()(std::byte* bytes) const noexcept { free_board_memory(bytes); }
};
using BoardBytes = std::unique_ptr<std::byte, FreeBoardMemory>;

// A tensor whose elements lie one after the other; or a sparse one (COO).
struct SharedTensor {
  c10::ScalarType dtype = c10::ScalarType::Float;
  BoardList<std::int64_t> sizes = {};
  bool has_values = false;            // not: a meta tensor, or one that nobody reads
  const std::byte* values = nullptr;  // `own`, or those of another
  BoardBytes own = {};
  BoardList<SharedTensor> parts = {};  // of a sparse tensor: indices and values
  bool is_coalesced = false;           // likewise
};

// Of board memory, all three.
// Requires: the board memory is shared
// Ensures: (1) tensor_of(share(t)) has t's dtype, sizes and values; of one without values it is a
//          meta tensor.
SharedTensor share(const at::Tensor& tensor, bool with_values = true);
SharedTensor share_values_of(const SharedTensor& tensor);
at::Tensor tensor_of(const SharedTensor& tensor);

struct SharedUnit {
  BoardList<SharedTensor> inputs = {};
  BoardList<SharedTensor> outputs = {};  // without values
};

struct SharedCall {
  const CollectiveSpec* spec = nullptr;  // of the table, which lies in the library
  std::int64_t root = 0;
  ReduceOp reduce_op = ReduceOp::kSum;
  BoardList<std::int64_t> output_split_sizes = {};
  BoardList<std::int64_t> input_split_sizes = {};
  BoardList<SharedUnit> units = {};
};

// `group_rank`: whose call it is. A premul_sum comes multiplied.
// Throws: UnsupportedOpError for tensors of other layouts.
std::shared_ptr<SharedCall> share_call(const CollectiveCall& call, std::int64_t group_rank);

// The call as exchange() reads it. Outputs have no memory.
CollectiveCall call_of(const SharedCall& call);

}  // namespace polyrank
