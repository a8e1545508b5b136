#include <polyrank/timeline/nccl_search.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace polyrank {

namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// The fastest that is not over `most`; where even the slowest is, `most`.
double fastest(const std::vector<double>& speeds, double most) {
  const auto found = std::ranges::lower_bound(speeds, most, std::ranges::greater());
  return found == speeds.end() ? most : *found;
}

// The second pass: one speed after the other, as long as the one before is below `goal`.
double raised(const std::vector<double>& speeds, double from, double goal, double most) {
  double speed = from;
  for (auto next = speeds.rbegin(); next != speeds.rend() && speed < goal && *next <= most;
       ++next) {
    speed = std::max(speed, *next);
  }
  return speed;
}

double cards_of(const NcclGroup& group, const NcclLinks& links) {
  return std::max(1.0, std::min(std::ceil(group.ranks_a_node()), links.network_cards));
}

// What the links of a node leave to each of so many channels that come from the network.
double most_in_node(const NcclGroup& group, double channels, const NcclLinks& links) {
  const double ranks = group.ranks_a_node();
  if (!links.has_nvlink) {
    // The way from one socket to the other carries as much as a ring of the node.
    const double sockets = links.node_channel * links.node_channels / channels;
    return ranks > 1 ? std::min(links.gpu_links, sockets) : links.gpu_links;
  }
  return ranks > 1 ? links.gpu_links * ranks / (channels * (ranks - 1)) : kNoLimit;
}

}  // namespace

NcclChannels ring_channels(const NcclGroup& group, const NcclTables& tables,
                           const NcclLinks& links) {
  if (group.nodes == 1) {
    return {.number = links.node_channels, .in_node = links.node_channel};
  }
  const double number = cards_of(group, links);
  const double speed =
      fastest(tables.network_speeds, std::min(links.network, most_in_node(group, number, links)));
  return {.number = number, .in_node = speed, .between = speed};
}

NcclChannels tree_channels(const NcclGroup& group, const NcclTables& tables,
                           const NcclLinks& links) {
  NcclChannels channels = ring_channels(group, tables, links);
  if (group.nodes > 1) {
    channels.in_node = raised(tables.network_speeds, channels.between, 2 * channels.between,
                              most_in_node(group, channels.number, links));
  }
  return channels;
}

NcclChannels nvls_channels(const NcclGroup& group, const NcclTables& tables,
                           const NcclLinks& links) {
  const bool is_one_node = group.nodes == 1;
  const double heads =
      std::min(is_one_node ? std::ceil(group.ranks_a_node()) : cards_of(group, links),
               tables.most_nvls_heads);
  const std::vector<double>& speeds = is_one_node ? tables.node_speeds : tables.network_speeds;
  const double network = is_one_node ? kNoLimit : links.network;
  const double in_node = fastest(speeds, std::min(links.gpu_links / (heads + 1), network));
  return {.number = heads,
          .in_node = in_node,
          .between = raised(speeds, in_node, 2 * in_node, network)};
}

double network_share(const NcclGroup& group, double channels, const NcclLinks& links) {
  const double groups = std::max(1.0, links.gpus_per_node / group.ranks_a_node());
  return links.network_cards * links.network / (groups * channels);
}

}  // namespace polyrank
