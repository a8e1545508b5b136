// Which algorithm and protocol NCCL chooses for a collective, and how long that takes.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/core/export.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace polyrank {

enum class NcclAlgorithm : std::uint8_t { kTree, kRing, kNvls, kNvlsTree };
enum class NcclProtocol : std::uint8_t { kLl, kLl128, kSimple };
inline constexpr std::size_t kNumNcclAlgorithms = 4;
inline constexpr std::size_t kNumNcclProtocols = 3;

// By protocol.
using ByProtocol = std::array<double, kNumNcclProtocols>;
// By algorithm and protocol.
using ByAlgorithm = std::array<ByProtocol, kNumNcclAlgorithms>;
// For one node, for two, for more.
using ByNodes = std::array<double, 3>;

// NCCL's tables for one generation of GPUs. Bandwidths are GB/s (1e9), latencies microseconds.
struct NcclTables {
  ByAlgorithm base_latency{};
  ByAlgorithm nvlink_latency{};   // of a step
  ByAlgorithm pcie_latency{};     // of a step
  ByAlgorithm network_latency{};  // of a step
  ByNodes most_ll{};              // of all channels
  ByNodes most_ring_ll128{};      // of a channel, as the others
  ByNodes most_tree{};
  ByNodes most_tree_ll128{};
  ByNodes most_nvls_tree{};
  double nvls_efficiency = 0;                    // 0: these GPUs have no NVLS
  std::array<ByProtocol, 24> tree_correction{};  // by log2 of the payload's 64 bytes
  double network_overhead = 0;                   // of a step of a ring between nodes
  double ring_plateau = 1;    // factor on the latency of large all-reduces between nodes
  double channel_copies = 1;  // of each channel that the search finds: rings and trees run on all
  // How often a byte that comes over a link goes through the GPU's memory.
  double memory_passes = 0;
};

// How the GPUs of a cluster are linked. Bandwidths are GB/s (1e9), of one direction.
struct NcclLinks {
  bool has_nvlink = true;
  double gpu_links = 0;        // all links of a GPU to its node
  double node_channel = 0;     // of a channel in the node, as NCCL's search finds it
  double node_channels = 0;    // so many
  double nvls_channel = 0;     // of NVLS
  double nvls_channels = 0;    // 0: no NVLS
  double network = 0;          // of a GPU's share of the network
  double network_channel = 0;  // of a channel between nodes, as NCCL's search finds it
  double network_latency = 0;  // of NCCL's latencies beside the tables', microseconds
};

// Where a group's ranks are.
struct NcclGroup {
  std::int64_t ranks = 1;
  std::int64_t nodes = 1;
};

struct NcclChoice {
  NcclAlgorithm algorithm = NcclAlgorithm::kRing;
  NcclProtocol protocol = NcclProtocol::kSimple;
  double nanoseconds = 0;
  double channels = 0;  // each keeps a multiprocessor
};

// NOTE [The time of a collective]
// NCCL works out, for each algorithm and protocol, a latency and a bandwidth from its tables, takes
// those that promise the shortest time, and runs them. What it works out is taken for what it
// takes: the tables were fitted to measurements by NCCL's authors. Source of rules and tables:
// NCCL 2.30.7, src/graph/tuning.cc, src/graph/search.cc. Left out: CollNet and SHARP, PAT (groups
// with one GPU a node), what environment variables forbid, and aggregation.
// Messages, gathers, scatters and all-to-alls are sends and receives there, which have no tables:
// a step's latency, and the bytes of a rank over its links.
// Each group has the links for itself: groups that communicate at once do not slow each other.

// The time of a collective whose payload is so many bytes (NOTE [Payload] in cost_model.h).
// `crosses_nodes` is of messages: whether the peer is on another node.
// Ensures: (1) a group of one takes none; (2) with one algorithm and protocol never shorter for
//          twice the bytes; (3) no algorithm and protocol is faster, as nccl_time_of() has them.
POLYRANK_API NcclChoice nccl_time(CollectiveKind kind, const NcclGroup& group, double bytes,
                                  const NcclTables& tables, const NcclLinks& links,
                                  bool crosses_nodes = false);

// What NCCL compares. Units: nanoseconds; negative where they can't be used.
// Requires: `kind` is no message, gather, scatter or all-to-all; more than one rank
POLYRANK_API double nccl_time_of(CollectiveKind kind, const NcclGroup& group, double bytes,
                                 const NcclTables& tables, const NcclLinks& links,
                                 NcclAlgorithm algorithm, NcclProtocol protocol);

// "ring, LL128".
POLYRANK_API std::string_view to_string(NcclAlgorithm algorithm, NcclProtocol protocol) noexcept;

}  // namespace polyrank
