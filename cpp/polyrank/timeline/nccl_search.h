// The channels that NCCL finds for a group, and what each brings.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/timeline/nccl_tables.h>

namespace polyrank {

// NOTE [NCCL's search]
// NCCL lays channels over the links of a node, all of one bandwidth, which is of a list: it tries
// the list's from the fastest on, and takes what brings most in all. Source: NCCL 2.30.7,
// src/graph/search.cc.
// Between nodes a channel comes from a network card to one GPU of the group, goes through the
// node's others, and leaves by a card. So each card that the group has brings a channel, and a GPU
// sends what comes over all channels but its own to the next one.
// NVLS has a channel for each GPU, to which this GPU sends twice and all others once.
// In a second pass the search looks for more: trees of two nodes bring up to twice as much in a
// node as between them, and so does the network's part of NVLS.
// Rings and trees within a node are told by the cluster (NcclLinks).

struct NcclChannels {
  double number = 0;
  double in_node = 0;  // GB/s of one
  double between = 0;  // nodes
};

POLYRANK_API NcclChannels ring_channels(const NcclGroup& group, const NcclTables& tables,
                                        const NcclLinks& links);
POLYRANK_API NcclChannels tree_channels(const NcclGroup& group, const NcclTables& tables,
                                        const NcclLinks& links);
POLYRANK_API NcclChannels nvls_channels(const NcclGroup& group, const NcclTables& tables,
                                        const NcclLinks& links);

// What a group's channel gets of the network, GB/s, when all GPUs of the node use it.
POLYRANK_API double network_share(const NcclGroup& group, double channels, const NcclLinks& links);

}  // namespace polyrank
