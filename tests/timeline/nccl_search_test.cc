#include <gtest/gtest.h>
#include <polyrank/timeline/nccl_search.h>
#include <timeline/hopper.h>

namespace polyrank {
namespace {

constexpr NcclGroup kNode{.ranks = 8, .nodes = 1};
constexpr NcclGroup kTwoNodes{.ranks = 16, .nodes = 2};

// The tables that NCCL printed for these are in tests/python/forecast/nccl_logs.toml.
TEST(NcclSearch, ACardForEachGpuBringsAChannelOfTheListsSpeed) {
  const NcclChannels ring = ring_channels(kTwoNodes, hopper(), dgx());
  EXPECT_EQ(ring.number, 8);
  EXPECT_EQ(ring.between, 48);
  EXPECT_EQ(ring.in_node, 48);
}

// H800 has eight links of 20.6 GB/s: seven channels of 22 go over them, of 24 not.
TEST(NcclSearch, TheNodesLinksCarryAllChannelsButTheGpusOwn) {
  NcclLinks links = dgx();
  links.gpu_links = 164.8;
  EXPECT_EQ(ring_channels(kTwoNodes, hopper(), links).between, 22);
}

TEST(NcclSearch, FewerCardsBringFewerChannels) {
  NcclLinks links = dgx();
  links.network_cards = 2;
  EXPECT_EQ(ring_channels(kTwoNodes, hopper(), links).number, 2);
  EXPECT_EQ(ring_channels({.ranks = 2, .nodes = 2}, hopper(), links).number, 1);
}

TEST(NcclSearch, TreesOfTwoNodesBringMoreWithinThem) {
  NcclLinks links = dgx();
  links.network = 25;
  const NcclChannels tree = tree_channels({.ranks = 2, .nodes = 2}, hopper(), links);
  EXPECT_EQ(tree.between, 24);
  EXPECT_EQ(tree.in_node, 48);                                       // as NCCL prints it: 48.0/24.0
  EXPECT_EQ(tree_channels(kTwoNodes, hopper(), dgx()).in_node, 48);  // there is no faster one
}

// To each GPU itself sends twice: nine channels of 40 fit 370.8, of 50 don't.
TEST(NcclSearch, NvlsHasAChannelForEachGpu) {
  const auto of = [](const NcclGroup& group) { return nvls_channels(group, hopper(), dgx()); };
  EXPECT_EQ(of(kNode).number, 8);
  EXPECT_EQ(of(kNode).in_node, 40);
  EXPECT_EQ(of(kNode).between, 60);
  EXPECT_EQ(of({.ranks = 6, .nodes = 1}).in_node, 50);
  EXPECT_EQ(of({.ranks = 4, .nodes = 1}).in_node, 60);
  EXPECT_EQ(of(kTwoNodes).number, 8);
  EXPECT_EQ(of(kTwoNodes).in_node, 40);
  EXPECT_EQ(of(kTwoNodes).between, 48);
}

TEST(NcclSearch, GroupsShareTheCardsOfANode) {
  NcclLinks links = dgx();
  const auto share = [&](const NcclGroup& group, double channels) {
    return network_share(group, channels, links);
  };
  EXPECT_EQ(share({.ranks = 4, .nodes = 4}, 1), 50);  // eight groups, each with its own card
  EXPECT_EQ(share(kTwoNodes, 8), 50);
  links.network_cards = 4;
  EXPECT_EQ(share({.ranks = 4, .nodes = 4}, 1), 25);   // eight groups on four cards
  EXPECT_EQ(share({.ranks = 16, .nodes = 4}, 4), 25);  // two groups, both on all four
  EXPECT_EQ(share(kTwoNodes, 4), 50);                  // one group on four
}

TEST(NcclSearch, PcieIsAsFastAsItsSlowestPart) {
  NcclLinks links = dgx();
  links.has_nvlink = false;
  links.gpu_links = 24;
  links.node_channel = 15;
  links.node_channels = 1;
  links.network_cards = 1;
  EXPECT_EQ(ring_channels(kTwoNodes, hopper(), links).between, 15);
  EXPECT_EQ(ring_channels({.ranks = 2, .nodes = 2}, hopper(), links).between, 24);
}

}  // namespace
}  // namespace polyrank
