// One launch of a collective: an operator's arguments, read as the table says.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/core/SymInt.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/collective/reduce_op.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <optional>
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
  at::Tensor premul_factor;  // of premul_sum: one element, which may differ between ranks
  std::vector<c10::SymInt> output_split_sizes;  // empty: even
  std::vector<c10::SymInt> input_split_sizes;
  bool is_async = false;  // whether the program waits by itself, with a Work or wait_tensor
  std::int64_t gather_dim = 0;
  std::int64_t shard_dim = 0;
  // Of sends and receives, by unit.
  std::vector<c10::SymInt> peers;  // group ranks
  std::vector<std::int64_t> tags;
  std::vector<bool> is_send;
  std::optional<std::int64_t> only_rank;  // who takes part; nothing: all of the tensor's ranks
  std::vector<CollectiveUnit> units;

  // All tensors of the launch, inputs and outputs.
  std::vector<at::Tensor> tensors() const;

  // All tensors that the launch writes, in order.
  std::vector<at::Tensor> written() const;
};

// Arguments that the schemas of c10d take as plain ints, though ranks may differ in them. A guard
// gives them to the next launch of its thread, in place of the operator's own.
struct RankDependentArguments {
  std::optional<c10::SymInt> root = {};        // or the peer of a send, recv
  std::optional<std::int64_t> only_rank = {};  // as CollectiveCall's
  std::vector<c10::SymInt> output_split_sizes = {};
  std::vector<c10::SymInt> input_split_sizes = {};
};

class POLYRANK_API RankDependentArgumentsGuard {
 public:
  explicit RankDependentArgumentsGuard(RankDependentArguments arguments);
  ~RankDependentArgumentsGuard();
  RankDependentArgumentsGuard(const RankDependentArgumentsGuard&) = delete;
  RankDependentArgumentsGuard& operator=(const RankDependentArgumentsGuard&) = delete;
};

// What the calling thread's next launch is given, for who puts it off or repeats it: read_call()
// takes it.
std::optional<RankDependentArguments>& next_rank_dependent_arguments() noexcept;

// Whether the program was given something to wait for.
bool is_asynchronous(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments);

// Reads the arguments of `spec`'s operator.
// Throws: CollectiveError if lists have lengths that the operator can't have;
//         UnsupportedOpError for sparse all_reduce and for a premul_sum without its factor;
//         UsageError for an unknown reduce op.
CollectiveCall read_call(const CollectiveSpec& spec, c10::ArrayRef<c10::IValue> arguments);

}  // namespace polyrank
