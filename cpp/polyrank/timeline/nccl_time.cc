#include <polyrank/timeline/nccl_search.h>
#include <polyrank/timeline/nccl_time.h>

#include <algorithm>
#include <array>
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

NcclChannels channels_of(NcclAlgorithm algorithm, const NcclGroup& group, const NcclTables& tables,
                         const NcclLinks& links) {
  switch (algorithm) {
    case kTree:
      return tree_channels(group, tables, links);
    case kRing:
      return ring_channels(group, tables, links);
    case kNvls:
    case kNvlsTree:
      return nvls_channels(group, tables, links);
  }
  return {};
}

// Who has the network while a group communicates.
enum class Network : std::uint8_t { kForItself, kShared };

// One question to NCCL's tables: terms as in NCCL, so that both can be laid side by side.
class Tuning {
 public:
  Tuning(CollectiveKind kind, const NcclGroup& group, const NcclTables& tables,
         const NcclLinks& links, NcclAlgorithm algorithm, NcclProtocol protocol,
         Network network = Network::kForItself)
      : kind_(kind),
        group_(group),
        tables_(tables),
        links_(links),
        algorithm_(algorithm),
        protocol_(protocol),
        channels_(channels_of(algorithm, group, tables, links)),
        ranks_a_node_(group.ranks_a_node()) {
    if (network == Network::kShared && group.nodes > 1) {
      const double share = network_share(group, channels_.number, links);
      // What a tree does not bring through the network it does not bring through the node.
      channels_.in_node = std::min(channels_.in_node, 2 * share);
      channels_.between = std::min(channels_.between, share);
    }
  }

  bool is_usable() const {
    const bool is_nvls = algorithm_ == kNvls || algorithm_ == kNvlsTree;
    if (is_nvls && (tables_.nvls_efficiency == 0 || links_.nvls_channels == 0 ||
                    channels_.number < 2 || protocol_ != kSimple || ranks_a_node_ <= 2)) {
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
    double bus = channels_.number * channel();
    const auto nodes = nodes_index();
    if (algorithm_ == kRing && protocol_ == kLl) {
      bus = std::min(tables_.most_ll[nodes], bus / 2);
    } else if (algorithm_ == kRing && protocol_ == kLl128) {
      bus = std::min(bus * 0.92, channels_.number * tables_.most_ring_ll128[nodes]);
    } else if (algorithm_ == kTree) {
      bus = tree_bandwidth(std::min(bus * 0.92, channels_.number * tables_.most_tree[nodes]));
    }
    const bool is_of_payload = algorithm_ != kRing && is_gather_or_scatter_to_all(kind_);
    if (!is_of_payload) {
      bus *= algorithm_ == kTree ? 0.5 : static_cast<double>(group_.ranks) / steps();
    }
    return bus * correction(bytes);
  }

  double running_channels() const {
    const bool is_nvls = algorithm_ == kNvls || algorithm_ == kNvlsTree;
    return is_nvls ? links_.nvls_channels : channels_.number * tables_.channel_copies;
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

  // GB/s of one.
  double channel() const {
    if (algorithm_ == kRing || algorithm_ == kTree) {
      return group_.nodes <= 2 ? channels_.in_node : channels_.between;
    }
    const double heads = channels_.number;
    // An all-reduce's two halves run at once.
    const double shared = is_all_reduce(kind_) ? 2 : (ranks_a_node_ - 1) / ranks_a_node_;
    const double in_node =
        channels_.in_node * tables_.nvls_efficiency * (heads - 1) / heads * shared;
    if (is_one_node()) {
      return std::min(in_node, channels_.between);
    }
    const double between = group_.nodes == 2 ? 2 * channels_.between : channels_.between;
    return std::min({in_node, between, tables_.most_nvls_tree[nodes_index()]});
  }

  double tree_bandwidth(double bus) const {
    const bool has_own_card = tables_.trees_have_one_way && channels_.number >= ranks_a_node_;
    const bool has_one_way = !is_one_node() && (ranks_a_node_ <= 1 || has_own_card);
    const double efficiency = has_one_way ? tables_.one_way_tree_efficiency : 1;
    if (protocol_ == kLl) {
      return efficiency * std::min(bus / 3.8, tables_.most_ll[nodes_index()]);
    }
    if (protocol_ == kLl128) {
      return efficiency * std::min(bus * (is_one_node() ? 7.0 / 9 : 120.0 / 128),
                                   channels_.number * tables_.most_tree_ll128[nodes_index()]);
    }
    return efficiency * bus;
  }

  double correction(double bytes) const {
    const bool is_nvls_tree = algorithm_ == kNvlsTree && tables_.corrects_nvls_tree;
    if ((algorithm_ != kTree && !is_nvls_tree) || bytes < 64) {
      return 1;
    }
    const auto log = static_cast<std::size_t>(log2_floor(static_cast<std::int64_t>(bytes / 64)));
    // Of trees the last one is not used.
    const std::size_t used = tables_.tree_correction.size() - (is_nvls_tree ? 0 : 1);
    return log < used ? tables_.tree_correction[log][index(protocol_)] : 1;
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
    const bool is_on_plateau =
        protocol_ == kSimple && !is_one_node() && is_all_reduce(kind_) &&
        bytes / (running_channels() * static_cast<double>(group_.ranks)) >= 64;
    return is_on_plateau ? latency * tables_.ring_plateau : latency;
  }

  CollectiveKind kind_;
  const NcclGroup& group_;
  const NcclTables& tables_;
  const NcclLinks& links_;
  NcclAlgorithm algorithm_;
  NcclProtocol protocol_;
  NcclChannels channels_;
  double ranks_a_node_;
};

double time_of(const Tuning& tuning, double bytes) {
  return tuning.latency(bytes) * kNanosecondsAMicrosecond + bytes / tuning.bandwidth(bytes);
}

}  // namespace

double nccl_time_of(CollectiveKind kind, const NcclGroup& group, double bytes,
                    const NcclTables& tables, const NcclLinks& links, NcclAlgorithm algorithm,
                    NcclProtocol protocol) {
  const Tuning tuning(kind, group, tables, links, algorithm, protocol);
  return tuning.is_usable() ? time_of(tuning, bytes) : -1;
}

NcclChoice nccl_time(CollectiveKind kind, const NcclGroup& group, double bytes,
                     const NcclTables& tables, const NcclLinks& links) {
  NcclChoice best;
  if (group.ranks <= 1) {
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
  const Tuning chosen(kind, group, tables, links, best.algorithm, best.protocol, Network::kShared);
  best.nanoseconds = time_of(chosen, bytes);
  best.channels = chosen.running_channels();
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
