// In which order a reduction adds what the members of a group put in.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace polyrank {

// NOTE [Order of summation]
// Floating-point sums depend on their order. Real backends take whatever order their algorithm, the
// size and the place of an element give. Ours are the same on every run, and don't depend on how
// ranks are grouped into cohorts: a value that several members hold is added once for each of them.
// Each step rounds to the tensors' dtype, except with kExact.
enum class ReductionOrder : std::uint8_t {
  // The order of the group's members, which holds unless something else is said.
  kRank,
  // Neighbours in pairs, then the neighbouring sums, until one is left; a last one without a
  // neighbour waits.
  kTree,
  // What gloo does for all_reduce, reduce and, through an all_reduce, reduce_scatter: a ring, which
  // part q of as many parts as there are ranks leaves at rank q - 1 and goes down to rank q.
  // Source: gloo/allreduce.cc, gloo/reduce.cc. Compared with gloo's processes bit for bit.
  kGloo,
  // NCCL's ring: the part of rank q begins at rank q + 1 and goes up to q; what one rank gets of
  // reduce ends there. Channels are contiguous; each goes round in chunks.
  // Source: NCCL 2.22 and later, src/device/all_reduce.h (runRing), src/device/reduce_scatter.h,
  // src/device/reduce.h; src/enqueue.cc (scheduleCollTasksToPlan) for the channels.
  kNcclRing,
  // NCCL's two binary trees over nodes, a chain within each: the first half of the channels takes
  // the first tree. NCCL has it for all_reduce only; other reductions take its ring.
  // Source: as kNcclRing, runTreeSplit; src/graph/trees.cc, src/graph/connect.cc (balanced tree).
  kNcclTree,
  // Recursive halving, then doubling. Ranks beyond a power of two are added to a neighbour first.
  // Source: Thakur, Rabenseifner, Gropp: Optimization of Collective Communication Operations in
  // MPICH, 2005.
  kHalvingDoubling,
  // The exact sum, rounded once: what switches that add in a wider format come near to.
  kExact,
};

// The name that Python gives it, such as "nccl_ring".
POLYRANK_API std::string_view to_string(ReductionOrder order) noexcept;

// The order of that name.
// Throws: UsageError if there is none, naming those that there are.
POLYRANK_API ReductionOrder reduction_order_from_name(std::string_view name);

// An order, and what NCCL decides by tables of its own: NCCL_DEBUG=INFO, NCCL_DEBUG_SUBSYS=TUNING
// shows it. `num_channels` are those of the communicator, all in use.
struct ReductionAlgorithm {
  static constexpr std::int64_t kSimpleChunkBytes = std::int64_t{1} << 21;

  // Most orders have nothing else to say.
  // NOLINTNEXTLINE(*-explicit-constructor)
  ReductionAlgorithm(ReductionOrder taken = ReductionOrder::kRank) noexcept : order(taken) {}

  ReductionOrder order;
  std::int64_t num_channels = 1;                 // of kNcclRing and kNcclTree
  std::int64_t chunk_bytes = kSimpleChunkBytes;  // of kNcclRing: a rank's share of one round
  std::int64_t ranks_per_node = 0;               // of kNcclTree; 0: all are on one

  bool operator==(const ReductionAlgorithm&) const = default;
};

// Throws: UsageError if a number is out of range, naming it.
POLYRANK_API void check_algorithm(const ReductionAlgorithm& algorithm);

// Which elements are folded, and of what: of the flattened tensor that each member puts in.
struct ReducedElements {
  CollectiveKind kind = CollectiveKind::kAllReduce;  // or kReduce, kReduceScatter
  std::int64_t root = 0;                             // of kReduce: its group rank
  std::int64_t element_size = 4;                     // bytes
  std::int64_t total = 0;                            // elements that a member puts in
  std::int64_t begin = 0;                            // the first in question
  std::int64_t length = 0;                           // how many
};

// Adds the sum at `from` to that at `into`; both begin as what these members put in.
struct FoldStep {
  std::int64_t into;
  std::int64_t from;
  bool operator==(const FoldStep&) const = default;
};

// Elements that are added in one order.
struct FoldPart {
  std::int64_t begin;  // counted from ReducedElements::begin
  std::int64_t end;
  std::vector<FoldStep> steps;
  std::int64_t result;  // the member whose sum is the result
};

// More members than this would take a step each for each part of a ring.
inline constexpr std::int64_t kMostOrderedMembers = 1024;

// How `algorithm` folds these elements.
// Requires: the order is none of kRank, kTree and kExact, which treat all elements alike
// Ensures: (1) the parts are disjoint, in order, not empty, and cover all `length` elements
//          (2) each part's steps take every member but its result into another's sum once, and
//              none after it was taken
// Throws: UsageError for more than kMostOrderedMembers members, and for nodes that they don't fill.
POLYRANK_API std::vector<FoldPart> fold_parts(const ReductionAlgorithm& algorithm,
                                              const ReducedElements& elements,
                                              std::int64_t num_members);

}  // namespace polyrank
