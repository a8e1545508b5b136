// What NCCL knows before it chooses: its tables, and the links of a group's ranks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

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
  double nvls_efficiency = 0;  // 0: these GPUs have no NVLS
  // Bandwidths of a channel that NCCL's search tries, in a node and between nodes. They descend.
  std::vector<double> node_speeds{};
  std::vector<double> network_speeds{};
  double most_nvls_heads = 32;  // of its channels, each of which adds up at a GPU of its own
  // Of a tree whose ways out of a node all go through one GPU, and whether those of a node's
  // several GPUs do.
  double one_way_tree_efficiency = 1;
  bool trees_have_one_way = false;
  bool corrects_nvls_tree = false;               // by tree_correction, too
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
  double nvls_channels = 0;    // that run it; 0: no NVLS
  double network = 0;          // of a network card
  double network_latency = 0;  // of NCCL's latencies beside the tables', microseconds
  double network_cards = 1;    // of a node
  double gpus_per_node = 1;    // as NCCL has it: those that NVLink joins
};

// Where a group's ranks are.
struct NcclGroup {
  std::int64_t ranks = 1;
  std::int64_t nodes = 1;

  double ranks_a_node() const noexcept {
    return static_cast<double>(ranks) / static_cast<double>(nodes);
  }
};

}  // namespace polyrank
