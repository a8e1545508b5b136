#include <polyrank/timeline/nccl_time.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace polyrank {

namespace {

constexpr double kNanosecondsAMicrosecond = 1e3;

using enum NcclAlgorithm;
using enum NcclProtocol;

constexpr std::array kAlgorithms{kTree, kRing, kNvls, kNvlsTree};
constexpr std::array kProtocols{kLl, kLl128, kSimple};

std::size_t index(NcclAlgorithm algorithm) { return static_cast<std::size_t>(algorithm); }
std::size_t index(NcclProtocol protocol) { return static_cast<std::size_t>(protocol); }

std::int64_t log2_floor(std::int64_t value) {
  return static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(value))) - 1;
}

bool is_all_reduce(CollectiveKind kind) {
  return kind == CollectiveKind::kAllReduce || is_barrier(kind);
}

bool is_gather_or_scatter_to_all(CollectiveKind kind) {
  return kind == CollectiveKind::kAllGather || kind == CollectiveKind::kReduceScatter;
}

// One question to NCCL's tables: terms as in NCCL, so that both can be laid side by side.
class Tuning {
 public:
  Tuning(CollectiveKind kind, const NcclGroup& group, const NcclTables& tables,
         const NcclLinks& links, NcclAlgorithm algorithm, NcclProtocol protocol)
      : kind_(kind),
        group_(group),
        tables_(tables),
        links_(links),
        algorithm_(algorithm),
        protocol_(protocol),
        ranks_a_node_(static_cast<double>(group.ranks) / static_cast<double>(group.nodes)) {}

  bool is_usable() const {
    const bool is_nvls = algorithm_ == kNvls || algorithm_ == kNvlsTree;
    if (is_nvls && (tables_.nvls_efficiency == 0 || links_.nvls_channels < 2 ||
                    protocol_ != kSimple || ranks_a_node_ <= 2)) {
      return false;
    }
    if (protocol_ == kLl128 && !links_.has_nvlink) {
      return false;
    }
    if (is_all_reduce(kind_)) {
      // NVLS between nodes needs switches that reduce; in a node its tree has no use.
      return algorithm_ == kNvls ? is_one_node() : algorithm_ != kNvlsTree || !is_one_node();
    }
    if (is_gather_or_scatter_to_all(kind_)) {
      return algorithm_ == kRing || (algorithm_ == kNvls && is_one_node());
    }
    return algorithm_ == kRing;
  }

  // Of the payload. GB/s.
  double bandwidth(double bytes) const {
    double bus = channels() * channel();
    const auto nodes = nodes_index();
    if (algorithm_ == kRing && protocol_ == kLl) {
      bus = std::min(tables_.most_ll[nodes], bus / 2);
    } else if (algorithm_ == kRing && protocol_ == kLl128) {
      bus = std::min(bus * 0.92, channels() * tables_.most_ring_ll128[nodes]);
    } else if (algorithm_ == kTree) {
      bus = tree_bandwidth(std::min(bus * 0.92, channels() * tables_.most_tree[nodes]));
    }
    const bool is_of_payload = algorithm_ != kRing && is_gather_or_scatter_to_all(kind_);
    if (!is_of_payload) {
      bus *= algorithm_ == kTree ? 0.5 : static_cast<double>(group_.ranks) / steps();
    }
    return bus * correction(bytes);
  }

  double running_channels() const {
    const bool is_nvls = algorithm_ == kNvls || algorithm_ == kNvlsTree;
    return is_nvls ? channels() : channels() * tables_.channel_copies;
  }

  // Microseconds.
  double latency(double bytes) const {
    const ByAlgorithm& of_node = links_.has_nvlink ? tables_.nvlink_latency : tables_.pcie_latency;
    const double base = tables_.base_latency[index(algorithm_)][index(protocol_)];
    const double in_node = of_node[index(algorithm_)][index(protocol_)];
    switch (algorithm_) {
      case kRing:
        return base + ring_latency(in_node, of_node, bytes);
      case kTree: {
        const double between = static_cast<double>(log2_floor(group_.nodes)) * network_latency();
        return base + 2 * ((std::floor(ranks_a_node_) - 1) * in_node + between);
      }
      case kNvls:
        return in_node;
      case kNvlsTree:
        return base + in_node +
               2 * static_cast<double>(log2_floor(group_.nodes)) * network_latency();
    }
    return base;
  }

 private:
  bool is_one_node() const { return group_.nodes == 1; }
  std::size_t nodes_index() const {
    return static_cast<std::size_t>(std::min<std::int64_t>(group_.nodes, 3) - 1);
  }

  double steps() const {
    const auto ranks = static_cast<double>(group_.ranks);
    if (is_all_reduce(kind_)) {
      return 2 * (ranks - 1);
    }
    return is_gather_or_scatter_to_all(kind_) ? ranks - 1 : ranks;
  }

  // Between nodes each GPU brings a channel, as long as its network card and the links to its
  // node's others carry it.
  double channels() const {
    if (algorithm_ == kNvls || algorithm_ == kNvlsTree) {
      return links_.nvls_channels;
    }
    return is_one_node() ? links_.node_channels : std::ceil(ranks_a_node_);
  }

  double channel() const {
    // In a node the links carry what the channels of all its ranks bring; without NVLink the way
    // from one socket to the other carries as much as a ring of the node.
    const double of_node =
        links_.has_nvlink ? links_.gpu_links : links_.node_channel * links_.node_channels;
    const double most_in_node = of_node / ranks_a_node_;
    const double between =
        ranks_a_node_ > 1 ? std::min(links_.network_channel, most_in_node) : links_.network_channel;
    if (algorithm_ == kRing || algorithm_ == kTree) {
      return is_one_node() ? links_.node_channel : between;
    }
    const double efficiency =
        tables_.nvls_efficiency * (links_.nvls_channels - 1) / links_.nvls_channels;
    const double in_node = links_.nvls_channel * efficiency *
                           (is_all_reduce(kind_) ? 2 : (ranks_a_node_ - 1) / ranks_a_node_);
    if (is_one_node()) {
      return in_node;
    }
    const double network = between * ranks_a_node_ / links_.nvls_channels;
    return std::min({in_node, group_.nodes == 2 ? 2 * network : network,
                     tables_.most_nvls_tree[nodes_index()]});
  }

  double tree_bandwidth(double bus) const {
    if (protocol_ == kLl) {
      return std::min(bus / 3.8, tables_.most_ll[nodes_index()]);
    }
    if (protocol_ == kLl128) {
      return std::min(bus * (is_one_node() ? 7.0 / 9 : 120.0 / 128),
                      channels() * tables_.most_tree_ll128[nodes_index()]);
    }
    return bus;
  }

  double correction(double bytes) const {
    if (algorithm_ != kTree || bytes < 64) {
      return 1;
    }
    const auto log = static_cast<std::size_t>(log2_floor(static_cast<std::int64_t>(bytes / 64)));
    return log < tables_.tree_correction.size() ? tables_.tree_correction[log][index(protocol_)]
                                                : 1;
  }

  double network_latency() const {
    // With one GPU a node nothing hides a step, and a tree's latency counts.
    const NcclAlgorithm of = ranks_a_node_ <= 1 ? kTree : algorithm_;
    const double flush = protocol_ == kSimple ? 2 : 1;
    return tables_.network_latency[index(of)][index(protocol_)] + flush * links_.network_latency;
  }

  double ring_latency(double in_node, const ByAlgorithm& of_node, double bytes) const {
    if (!is_all_reduce(kind_) && !is_gather_or_scatter_to_all(kind_)) {
      // From one to the next, chunk after chunk.
      const ByAlgorithm& step = is_one_node() ? of_node : tables_.network_latency;
      return step[index(kRing)][index(protocol_)];
    }
    if (!is_one_node()) {
      in_node = std::max(in_node, tables_.network_overhead * (protocol_ == kSimple ? 3 : 1));
    }
    const double rounds = is_all_reduce(kind_) ? 2 : 1;
    const double between = is_one_node() ? 0 : rounds * static_cast<double>(group_.nodes - 1);
    const double latency = (steps() - between) * in_node + between * network_latency();
    const bool is_on_plateau = protocol_ == kSimple && !is_one_node() && is_all_reduce(kind_) &&
                               bytes / (channels() * static_cast<double>(group_.ranks)) >= 64;
    return is_on_plateau ? latency * tables_.ring_plateau : latency;
  }

  CollectiveKind kind_;
  const NcclGroup& group_;
  const NcclTables& tables_;
  const NcclLinks& links_;
  NcclAlgorithm algorithm_;
  NcclProtocol protocol_;
  double ranks_a_node_;
};

// Of what is sent from rank to rank.
double message_time(CollectiveKind kind, const NcclGroup& group, double bytes,
                    const NcclTables& tables, const NcclLinks& links, bool crosses_nodes) {
  const auto ranks = static_cast<double>(group.ranks);
  const bool is_one_message = kind == CollectiveKind::kSend || kind == CollectiveKind::kReceive ||
                              kind == CollectiveKind::kSendReceive;
  double in_node = 0;
  double between = 0;
  if (is_one_message) {
    (crosses_nodes ? between : in_node) = bytes;
  } else {
    // Of the payload a share for each rank; those of the own node go over its links.
    const double others_in_node = ranks / static_cast<double>(group.nodes) - 1;
    in_node = bytes / ranks * others_in_node;
    between = bytes / ranks * (ranks - 1 - others_in_node);
  }
  const ByAlgorithm& of_node = links.has_nvlink ? tables.nvlink_latency : tables.pcie_latency;
  const ByAlgorithm& step = between > 0 ? tables.network_latency : of_node;
  const double latency =
      tables.base_latency[index(kRing)][index(kSimple)] + step[index(kRing)][index(kSimple)];
  const double seconds = std::max(links.gpu_links > 0 ? in_node / links.gpu_links : 0,
                                  between > 0 ? between / links.network : 0);
  return latency * kNanosecondsAMicrosecond + seconds;  // bytes by GB/s are nanoseconds
}

bool is_made_of_messages(CollectiveKind kind) {
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

}  // namespace

double nccl_time_of(CollectiveKind kind, const NcclGroup& group, double bytes,
                    const NcclTables& tables, const NcclLinks& links, NcclAlgorithm algorithm,
                    NcclProtocol protocol) {
  const Tuning tuning(kind, group, tables, links, algorithm, protocol);
  if (!tuning.is_usable()) {
    return -1;
  }
  return tuning.latency(bytes) * kNanosecondsAMicrosecond + bytes / tuning.bandwidth(bytes);
}

NcclChoice nccl_time(CollectiveKind kind, const NcclGroup& group, double bytes,
                     const NcclTables& tables, const NcclLinks& links, bool crosses_nodes) {
  NcclChoice best;
  if (group.ranks <= 1) {
    return best;
  }
  if (is_made_of_messages(kind)) {
    best.nanoseconds = message_time(kind, group, bytes, tables, links, crosses_nodes);
    best.channels = Tuning(kind, group, tables, links, kRing, kSimple).running_channels();
    return best;
  }
  bool has_one = false;
  for (const NcclAlgorithm algorithm : kAlgorithms) {
    for (const NcclProtocol protocol : kProtocols) {
      const double time = nccl_time_of(kind, group, bytes, tables, links, algorithm, protocol);
      if (time >= 0 && (!has_one || time < best.nanoseconds)) {
        best = {.algorithm = algorithm, .protocol = protocol, .nanoseconds = time, .channels = 0};
        has_one = true;
      }
    }
  }
  best.channels =
      Tuning(kind, group, tables, links, best.algorithm, best.protocol).running_channels();
  return best;
}

std::string_view to_string(NcclAlgorithm algorithm, NcclProtocol protocol) noexcept {
  constexpr std::array<std::array<std::string_view, kNumNcclProtocols>, kNumNcclAlgorithms> names{
      {{"tree, LL", "tree, LL128", "tree, Simple"},
       {"ring, LL", "ring, LL128", "ring, Simple"},
       {"NVLS, LL", "NVLS, LL128", "NVLS, Simple"},
       {"NVLS tree, LL", "NVLS tree, LL128", "NVLS tree, Simple"}}};
  return names[index(algorithm)][index(protocol)];
}

}  // namespace polyrank
