// The table of collectives: everything that polyrank knows of an operator that talks to other
// ranks.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace polyrank {

// How the tensors of one rank stand in an argument. Where c10d takes lists for a single tensor
// (once meant for one tensor per local device), the list has one element.
enum class Packing : std::uint8_t {
  kNone,           // no such argument
  kTensor,         // Tensor
  kOne,            // Tensor[] of exactly one tensor
  kPerMember,      // Tensor[]: one tensor for each member of the group
  kOnePerMember,   // Tensor[][] of exactly one list: one tensor for each member of the group
  kCoalesced,      // Tensor[]: each a collective of its own, launched together
  kMemberByTensor  // Tensor[][]: for each member, one tensor for each collective launched together
};

// Where an operator leaves its results.
enum class Destination : std::uint8_t {
  kNowhere,  // it has none
  kInputs,   // overwrites its inputs
  kOutputs,  // overwrites its output arguments
  kResults,  // allocates them (functional)
};

// What an operator returns.
enum class Returns : std::uint8_t {
  kNothing,
  kWork,
  kTensors,         // packed as the inputs are, or as the outputs where there are some
  kTensorsAndWork,  // the tensors written, packed as the argument that holds them, and the Work
};

// The position of an argument; kAbsent where the operator has none in this role.
using ArgumentPosition = std::int8_t;
inline constexpr ArgumentPosition kAbsent = -1;

struct TensorArgument {
  ArgumentPosition position = kAbsent;
  Packing packing = Packing::kNone;
};

// One operator. Positions count the arguments of its schema.
struct CollectiveSpec {
  std::string_view op_name;  // without overload name: no operator of the table has overloads
  CollectiveKind kind = CollectiveKind::kNotACollective;
  TensorArgument inputs = {};
  TensorArgument outputs = {};  // absent unless destination is kOutputs
  Destination destination = Destination::kNowhere;
  Returns returns = Returns::kNothing;
  ArgumentPosition group = kAbsent;       // a ProcessGroup or a group name
  ArgumentPosition group_size = kAbsent;  // what the caller says that the group's size is
  ArgumentPosition root = kAbsent;        // group rank of the root, or of the peers of a send, recv
  ArgumentPosition reduce_op = kAbsent;
  ArgumentPosition output_split_sizes = kAbsent;
  ArgumentPosition input_split_sizes = kAbsent;
  ArgumentPosition gather_dim = kAbsent;  // dimensions of shard_dim_alltoall
  ArgumentPosition shard_dim = kAbsent;
  ArgumentPosition async_op = kAbsent;
  ArgumentPosition tag = kAbsent;
  ArgumentPosition operations = kAbsent;  // "isend" or "irecv" for each tensor of a batch
  ArgumentPosition sparse_indices = kAbsent;
  bool lockstep = false;  // whether the lockstep world runs it
};

// All operators of the namespaces c10d, _c10d_functional, _c10d_functional_autograd and _dtensor
// that a supported PyTorch registers, and the collectives of symm_mem, ordered by namespace and
// kind. The installed one may lack some.
POLYRANK_API std::span<const CollectiveSpec> collective_table() noexcept;

// The row of an operator ("c10d::allreduce_"), or null.
POLYRANK_API const CollectiveSpec* find_collective(std::string_view op_name) noexcept;

POLYRANK_API std::string_view to_string(Packing packing) noexcept;
POLYRANK_API std::string_view to_string(Destination destination) noexcept;
POLYRANK_API std::string_view to_string(Returns returns) noexcept;

}  // namespace polyrank
