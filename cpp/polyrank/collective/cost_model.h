// What a collective costs on a network: steps, and bytes that a rank sends.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace polyrank {

// How the ranks of a group talk to each other.
enum class CollectiveAlgorithm : std::uint8_t {
  kRing,             // to the next rank, around
  kTree,             // along a binomial tree
  kHalvingDoubling,  // with partners at distances 1, 2, 4, …
  kDirect,           // each with each, in one step where that can be
};

struct CollectiveCost {
  std::int64_t steps = 0;       // messages that must come one after another
  std::int64_t wire_bytes = 0;  // that one rank sends; the busiest rank's where they differ
  bool operator==(const CollectiveCost&) const = default;
};

// NOTE [Payload]
// S in the formulas, the size of the buffer that the group works on: what all_reduce, broadcast,
// reduce, send and recv hold; what all_gather and gather collect; what reduce_scatter and scatter
// distribute; what one rank of an all_to_all hands out; of a batch of sends and
// receives what is sent. A barrier's is 0.

// The payload of a collective, of which one rank holds so many bytes.
// Units: `output_bytes` is 0 where the rank has no output, `input_bytes` where it has no input: the
// missing one follows from the group's size if all ranks hold the same.
POLYRANK_API std::int64_t payload_bytes(CollectiveKind kind, std::int64_t group_size,
                                        std::int64_t input_bytes, std::int64_t output_bytes);

// One row of the model. P ranks, payload S.
struct CostRow {
  CollectiveKind kind;
  CollectiveAlgorithm algorithm;
  std::int64_t (*steps)(std::int64_t group_size);
  std::int64_t (*wire_bytes)(std::int64_t group_size, std::int64_t payload_bytes);
  std::string_view formula;  // steps; bytes
  std::string_view source;
};

// All rows; the first of a kind is the usual algorithm.
POLYRANK_API std::span<const CostRow> cost_table() noexcept;

// What `kind` costs with that algorithm; nothing if the table has no such row.
// Ensures: (1) a group of one costs nothing; (2) where S is a multiple of P and P a power of two,
//          ring and halving-doubling send the same; (3) bytes never shrink when S grows.
POLYRANK_API std::optional<CollectiveCost> collective_cost(CollectiveKind kind,
                                                           CollectiveAlgorithm algorithm,
                                                           std::int64_t group_size,
                                                           std::int64_t payload_bytes);

// The algorithm that the trace's wire bytes are of: ring where data is reduced or gathered, tree
// from and to a root's, direct else. Nothing for kinds that send nothing.
POLYRANK_API std::optional<CollectiveAlgorithm> usual_algorithm(CollectiveKind kind) noexcept;

// The wire bytes of a rank with the usual algorithm; 0 for kinds that send nothing.
POLYRANK_API std::int64_t usual_wire_bytes(CollectiveKind kind, std::int64_t group_size,
                                           std::int64_t payload_bytes);

// "ring", "tree", "halving_doubling", "direct".
POLYRANK_API std::string_view to_string(CollectiveAlgorithm algorithm) noexcept;

// Throws: UsageError if there is none of that name.
POLYRANK_API CollectiveAlgorithm algorithm_from_name(std::string_view name);

}  // namespace polyrank
