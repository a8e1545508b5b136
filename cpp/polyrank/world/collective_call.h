// One launch of a collective: an operator's arguments, read as the table says.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/core/SymInt.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/collective/reduce_op.h>

#include <cstdint>
#include <string>
#include <vector>

namespace polyrank {

// One collective of a launch; a coalesced launch has several.
struct CollectiveUnit {
  std::vector<at::Tensor> inputs;   // one, or one per member of the group
  std::vector<at::Tensor> outputs;  // what it writes, likewise; empty for functional operators
};

struct CollectiveCall {
  const CollectiveSpec* spec = nullptr;
  std::string group_name;                // empty for kinds without a group
  std::int64_t process_group_size = -1;  // of the ProcessGroup, where one was given
  std::int64_t stated_group_size = -1;   // what the caller says that it is; -1: nothing
  std::int64_t root = 0;                 // group rank
  ReduceOp reduce_op = ReduceOp::kSum;
  std::vector<c10::SymInt> output_split_sizes;  // empty: even
  std::vector<c10::SymInt> input_split_sizes;
  std::int64_t gather_dim = 0;
  std::int64_t shard_dim = 0;
  std::vector<CollectiveUnit> units;

  // All tensors of the launch, inputs and outputs.
  std::vector<at::Tensor> tensors() const;

  // All tensors that the launch writes, in order.
  std::vector<at::Tensor> written() const;
};

// Reads the arguments of `spec`'s operator.
// Throws: CollectiveError if lists have lengths that the operator can't have;
//         UnsupportedOpError for sparse all_reduce; UsageError for an unknown reduce op.
CollectiveCall read_call(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments);

}  // namespace polyrank
