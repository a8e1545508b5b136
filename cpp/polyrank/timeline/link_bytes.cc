#include <polyrank/collective/cost_model.h>
#include <polyrank/timeline/link_bytes.h>
#include <polyrank/timeline/nccl_search.h>

#include <algorithm>
#include <cmath>

namespace polyrank {

namespace {

constexpr double kNanosecondsAMicrosecond = 1e3;
constexpr auto kRing = static_cast<std::size_t>(NcclAlgorithm::kRing);
constexpr auto kSimple = static_cast<std::size_t>(NcclProtocol::kSimple);

constexpr std::size_t index(GpuLink link) { return static_cast<std::size_t>(link); }

// Of LL each four bytes come with a flag of four, of LL128 each 120 with eight (NCCL,
// src/device/prims_ll.h and prims_ll128.h).
double sent_for_a_byte(NcclProtocol protocol) {
  switch (protocol) {
    case NcclProtocol::kLl:
      return 2;
    case NcclProtocol::kLl128:
      return 128.0 / 120;
    case NcclProtocol::kSimple:
      return 1;
  }
  return 1;
}

// GB/s of each link, for a GPU by itself.
ByLink link_speeds(const NcclLinks& links) {
  const double share = std::min(links.network, network_share({}, 1, links));
  const double network = links.has_nvlink ? share : std::min(share, links.gpu_links);
  return {links.gpu_links, links.gpu_links, network, network};
}

}  // namespace

bool is_made_of_messages(CollectiveKind kind) noexcept {
  switch (kind) {
    case CollectiveKind::kSend:
    case CollectiveKind::kReceive:
    case CollectiveKind::kSendReceive:
    case CollectiveKind::kAllToAll:
    case CollectiveKind::kGather:
    case CollectiveKind::kScatter:
      return true;
    default:
      return false;
  }
}

void add_message(ByLink* bytes, bool is_sent, bool crosses_nodes, double size) {
  const GpuLink in_node = is_sent ? GpuLink::kNodeOut : GpuLink::kNodeIn;
  const GpuLink between = is_sent ? GpuLink::kNetworkOut : GpuLink::kNetworkIn;
  (*bytes)[index(crosses_nodes ? between : in_node)] += size;
}

ByLink even_messages(const NcclGroup& group, double payload) {
  const auto ranks = static_cast<double>(group.ranks);
  const double others_in_node = group.ranks_a_node() - 1;
  const double in_node = payload / ranks * others_in_node;
  const double between = payload / ranks * (ranks - 1 - others_in_node);
  return {in_node, in_node, between, between};
}

ByLink link_times(const ByLink& bytes, const NcclLinks& links) {
  ByLink times = link_speeds(links);
  for (std::size_t link = 0; link < kNumGpuLinks; ++link) {
    times[link] = bytes[link] > 0 ? bytes[link] / times[link] : 0;  // by GB/s: nanoseconds
  }
  return times;
}

NcclChoice message_time(const ByLink& bytes, const NcclGroup& group, const NcclTables& tables,
                        const NcclLinks& links) {
  const bool crosses_nodes =
      bytes[index(GpuLink::kNetworkOut)] + bytes[index(GpuLink::kNetworkIn)] > 0;
  const ByAlgorithm& in_node = links.has_nvlink ? tables.nvlink_latency : tables.pcie_latency;
  const ByAlgorithm& step = crosses_nodes ? tables.network_latency : in_node;
  const double latency = tables.base_latency[kRing][kSimple] + step[kRing][kSimple] +
                         (crosses_nodes ? 2 * links.network_latency : 0);
  return {.nanoseconds =
              latency * kNanosecondsAMicrosecond + std::ranges::max(link_times(bytes, links)),
          .channels = ring_channels(group, tables, links).number * tables.channel_copies};
}

// NVLS sends once to the switch and receives once of it. Through a ring or a tree between nodes
// goes all of a node's traffic at each GPU, but on the channel that leaves by its own card.
ByLink collective_bytes(CollectiveKind kind, const NcclGroup& group, double payload,
                        const NcclChoice& choice) {
  const bool is_nvls =
      choice.algorithm == NcclAlgorithm::kNvls || choice.algorithm == NcclAlgorithm::kNvlsTree;
  const auto wire = usual_wire_bytes(kind, group.ranks, std::llround(payload));
  const double sent = static_cast<double>(wire) * sent_for_a_byte(choice.protocol);
  const double in_node = is_nvls ? payload : sent;
  if (group.nodes == 1) {
    return {in_node, in_node, 0, 0};
  }
  const double ranks = group.ranks_a_node();
  const double between = sent / ranks;  // as much of it as a GPU has of the node's cards
  const double passed = ranks > 1 ? in_node * (is_nvls ? 1 : (ranks - 1) / ranks) : 0;
  return {passed, passed, between, between};
}

}  // namespace polyrank
