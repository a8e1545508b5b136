// NCCL's tables for Hopper, and the links of a DGX H100, as far as these tests need them.
#pragma once

#include <polyrank/timeline/nccl_tables.h>

namespace polyrank {

inline NcclTables hopper() {
  NcclTables tables;
  tables.base_latency = {{{6.8, 14, 8.4}, {6.6, 14, 8.4}, {0, 0, 0}, {0, 0, 0}}};
  tables.nvlink_latency = {{{0.6, 1.25, 4}, {0.6, 1.9, 3.4}, {0, 0, 25}, {0, 0, 25}}};
  tables.pcie_latency = {{{1, 1.9, 4}, {1, 2.5, 5.7}, {0, 0, 0}, {0, 0, 0}}};
  tables.network_latency = {{{5, 8.5, 14}, {2.7, 4, 14}, {0, 0, 18}, {0, 0, 20.9}}};
  tables.most_ll = {141, 45, 35};
  tables.most_ring_ll128 = {36.7, 36.7, 36.7};
  tables.most_tree = {38.7, 41.4, 36};
  tables.most_tree_ll128 = {36.7, 36.7, 29};
  tables.most_nvls_tree = {0, 57.7, 45.5};
  tables.nvls_efficiency = 0.85;
  for (ByProtocol& factors : tables.tree_correction) {
    factors = {0.9, 0.9, 0.9};
  }
  tables.network_overhead = 1;
  tables.ring_plateau = 1.4;
  tables.node_speeds = {60, 50, 40, 30, 24, 20, 15, 12, 11, 6, 3};
  tables.network_speeds = {48, 45, 42, 40, 30,  24,  22,   20,  17.5,
                           15, 12, 6,  3,  2.4, 1.2, 0.24, 0.12};
  tables.one_way_tree_efficiency = 0.85;
  tables.trees_have_one_way = true;
  return tables;
}

inline NcclLinks dgx() {
  return {.has_nvlink = true,
          .gpu_links = 370.8,
          .node_channel = 30,
          .node_channels = 12,
          .nvls_channels = 16,
          .network = 50,
          .network_cards = 8,
          .gpus_per_node = 8};
}

}  // namespace polyrank
