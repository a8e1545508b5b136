#include <polyrank/collective/cost_model.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>
#include <array>
#include <bit>

namespace polyrank {

namespace {

using Kind = CollectiveKind;
using Algorithm = CollectiveAlgorithm;
using Count = std::int64_t;

Count log2_ceil(Count group_size) {
  return static_cast<Count>(std::bit_width(static_cast<std::uint64_t>(group_size - 1)));
}

// A rank's part of a buffer that is cut evenly; the longest where it can't be.
Count part(Count group_size, Count payload) { return (payload + group_size - 1) / group_size; }

Count all_but_one_part(Count group_size, Count payload) {
  return (group_size - 1) * part(group_size, payload);
}

Count whole(Count /*group_size*/, Count payload) { return payload; }
Count nothing(Count /*group_size*/, Count /*payload*/) { return 0; }
Count one_step(Count /*group_size*/) { return 1; }
Count two_steps(Count /*group_size*/) { return 2; }
Count once_around(Count group_size) { return group_size - 1; }
Count twice_around(Count group_size) { return 2 * (group_size - 1); }
Count up_the_tree(Count group_size) { return log2_ceil(group_size); }
Count up_and_down(Count group_size) { return 2 * log2_ceil(group_size); }

// Ranks past the largest power of two hand their buffer to a partner first, and get the result from
// it in the end.
Count extra_step(Count group_size) {
  return std::has_single_bit(static_cast<std::uint64_t>(group_size)) ? 0 : 1;
}

Count largest_power(Count group_size) {
  return static_cast<Count>(std::bit_floor(static_cast<std::uint64_t>(group_size)));
}

Count halve_and_double_steps(Count group_size) {
  return 2 * (log2_ceil(largest_power(group_size)) + extra_step(group_size));
}

Count halve_steps(Count group_size) {
  return log2_ceil(largest_power(group_size)) + 2 * extra_step(group_size);
}

Count halve_and_double_bytes(Count group_size, Count payload) {
  const Count power = largest_power(group_size);
  return 2 * all_but_one_part(power, payload) + extra_step(group_size) * payload;
}

// A partner of a rank past the power of two hands it its part in the end.
Count halve_bytes(Count group_size, Count payload) {
  if (extra_step(group_size) == 0) {
    return all_but_one_part(group_size, payload);
  }
  const Count power = largest_power(group_size);
  return std::max(payload, all_but_one_part(power, payload) + part(group_size, payload));
}

// The root of a binomial tree sends in each step.
Count root_sends_all(Count group_size, Count payload) { return log2_ceil(group_size) * payload; }

// The child with the largest subtree passes on the most: half of a tree of a power of two.
Count largest_subtree(Count group_size, Count payload) {
  if (group_size < 2) {
    return 0;
  }
  const Count half = Count{1} << (log2_ceil(group_size) - 1);
  return std::min(half, group_size - half) * part(group_size, payload);
}

Count to_all_others(Count group_size, Count payload) { return (group_size - 1) * payload; }

constexpr std::string_view kPatarasuk =
    "Patarasuk, Yuan: Bandwidth optimal all-reduce algorithms, JPDC 2009; gloo docs/algorithms.md, "
    "allreduce_ring_chunked (4P steps of half a part, 2S bytes, P-1 taken for P)";
constexpr std::string_view kRing =
    "Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, "
    "IJHPCA 2005, ring";
constexpr std::string_view kTree = "Thakur et al. 2005, binomial tree";
constexpr std::string_view kHalving =
    "Thakur et al. 2005; gloo docs/algorithms.md, allreduce_halving_doubling (2 lg P steps, 2S "
    "bytes)";
constexpr std::string_view kOneToAll = "gloo docs/algorithms.md, broadcast_one_to_all";
constexpr std::string_view kPairwise = "Thakur et al. 2005, pairwise exchange";
constexpr std::string_view kDirect = "each message by itself";

constexpr std::array kTable = {
    CostRow{Kind::kAllReduce, Algorithm::kRing, &twice_around,
            [](Count p, Count s) { return 2 * all_but_one_part(p, s); }, "2(P-1); 2(P-1)/P S",
            kPatarasuk},
    CostRow{Kind::kAllReduce, Algorithm::kTree, &up_and_down, &root_sends_all,
            "2 lg P; lg P S at the root", kTree},
    CostRow{Kind::kAllReduce, Algorithm::kHalvingDoubling, &halve_and_double_steps,
            &halve_and_double_bytes, "2 lg P; 2(P-1)/P S", kHalving},
    CostRow{Kind::kAllReduce, Algorithm::kDirect, &one_step, &to_all_others, "1; (P-1) S", kDirect},
    CostRow{Kind::kAllGather, Algorithm::kRing, &once_around, &all_but_one_part, "P-1; (P-1)/P S",
            kRing},
    CostRow{Kind::kAllGather, Algorithm::kHalvingDoubling, &up_the_tree, &all_but_one_part,
            "lg P; (P-1)/P S", "Thakur et al. 2005, recursive doubling and Bruck"},
    CostRow{Kind::kAllGather, Algorithm::kDirect, &one_step, &all_but_one_part, "1; (P-1)/P S",
            kDirect},
    CostRow{Kind::kReduceScatter, Algorithm::kRing, &once_around, &all_but_one_part,
            "P-1; (P-1)/P S", kPatarasuk},
    CostRow{Kind::kReduceScatter, Algorithm::kHalvingDoubling, &halve_steps, &halve_bytes,
            "lg P; (P-1)/P S", kHalving},
    CostRow{Kind::kReduceScatter, Algorithm::kDirect, &one_step, &all_but_one_part, "1; (P-1)/P S",
            kDirect},
    CostRow{Kind::kBroadcast, Algorithm::kTree, &up_the_tree, &root_sends_all,
            "lg P; lg P S at the root", kTree},
    CostRow{Kind::kBroadcast, Algorithm::kRing, &once_around, &whole, "P-1; S", kRing},
    CostRow{Kind::kBroadcast, Algorithm::kDirect, &one_step, &to_all_others,
            "1; (P-1) S at the root", kOneToAll},
    CostRow{Kind::kReduce, Algorithm::kTree, &up_the_tree, &whole, "lg P; S", kTree},
    CostRow{Kind::kReduce, Algorithm::kRing, &once_around, &whole, "P-1; S", kRing},
    CostRow{Kind::kReduce, Algorithm::kDirect, &one_step, &whole, "1; S", kDirect},
    CostRow{Kind::kGather, Algorithm::kTree, &up_the_tree, &largest_subtree,
            "lg P; S/2 at the root's last child", kTree},
    CostRow{Kind::kGather, Algorithm::kDirect, &one_step, &part, "1; S/P", kDirect},
    CostRow{Kind::kScatter, Algorithm::kTree, &up_the_tree, &all_but_one_part,
            "lg P; (P-1)/P S at the root", kTree},
    CostRow{Kind::kScatter, Algorithm::kDirect, &one_step, &all_but_one_part,
            "1; (P-1)/P S at the root", kDirect},
    CostRow{Kind::kAllToAll, Algorithm::kDirect, &once_around, &all_but_one_part, "P-1; (P-1)/P S",
            kPairwise},
    CostRow{Kind::kSend, Algorithm::kDirect, &one_step, &whole, "1; S", kDirect},
    CostRow{Kind::kReceive, Algorithm::kDirect, &one_step, &nothing, "1; 0", kDirect},
    CostRow{Kind::kSendReceive, Algorithm::kDirect, &one_step, &whole, "1; S", kDirect},
    CostRow{Kind::kBarrier, Algorithm::kDirect, &one_step, &nothing, "1; 0",
            "gloo docs/algorithms.md, barrier_all_to_all (one notification to each other rank)"},
    CostRow{Kind::kMonitoredBarrier, Algorithm::kDirect, &two_steps, &nothing, "2; 0",
            "ProcessGroupGloo::monitoredBarrier (each rank to the first one, which answers)"},
};

constexpr std::array<std::string_view, 4> kNames = {"ring", "tree", "halving_doubling", "direct"};

const CostRow* find_row(Kind kind, std::optional<Algorithm> algorithm) {
  const auto* const row = std::find_if(kTable.begin(), kTable.end(), [&](const CostRow& candidate) {
    return candidate.kind == kind && candidate.algorithm == algorithm.value_or(candidate.algorithm);
  });
  return row == kTable.end() ? nullptr : row;
}

}  // namespace

std::int64_t payload_bytes(CollectiveKind kind, std::int64_t group_size, std::int64_t input_bytes,
                           std::int64_t output_bytes) {
  switch (kind) {
    case Kind::kAllGather:
    case Kind::kGather:
      return output_bytes > 0 ? output_bytes : input_bytes * group_size;
    case Kind::kReduceScatter:
    case Kind::kScatter:
      return input_bytes > 0 ? input_bytes : output_bytes * group_size;
    case Kind::kReceive:
      return output_bytes;
    default:
      return input_bytes;
  }
}

std::span<const CostRow> cost_table() noexcept { return kTable; }

std::optional<CollectiveCost> collective_cost(CollectiveKind kind, CollectiveAlgorithm algorithm,
                                              std::int64_t group_size, std::int64_t payload_bytes) {
  const CostRow* row = find_row(kind, algorithm);
  if (row == nullptr) {
    return std::nullopt;
  }
  if (group_size <= 1) {
    return CollectiveCost{};
  }
  return CollectiveCost{row->steps(group_size), row->wire_bytes(group_size, payload_bytes)};
}

std::optional<CollectiveAlgorithm> usual_algorithm(CollectiveKind kind) noexcept {
  const CostRow* row = find_row(kind, std::nullopt);
  return row == nullptr ? std::nullopt : std::optional(row->algorithm);
}

std::int64_t usual_wire_bytes(CollectiveKind kind, std::int64_t group_size,
                              std::int64_t payload_bytes) {
  const auto algorithm = usual_algorithm(kind);
  const auto cost = algorithm ? collective_cost(kind, *algorithm, group_size, payload_bytes)
                              : std::optional<CollectiveCost>();
  return cost ? cost->wire_bytes : 0;
}

std::string_view to_string(CollectiveAlgorithm algorithm) noexcept {
  return kNames[static_cast<std::size_t>(algorithm)];
}

CollectiveAlgorithm algorithm_from_name(std::string_view name) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) {
    throw UsageError(str_cat("no algorithm is called \"", name,
                             "\"; there are ring, tree, halving_doubling and direct."));
  }
  return static_cast<CollectiveAlgorithm>(found - kNames.begin());
}

}  // namespace polyrank
