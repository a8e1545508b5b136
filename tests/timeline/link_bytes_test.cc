#include <gtest/gtest.h>
#include <polyrank/timeline/link_bytes.h>
#include <timeline/hopper.h>

#include <random>

namespace polyrank {
namespace {

NcclTables tables() {
  NcclTables tables;
  tables.base_latency[1] = {0, 0, 8};
  tables.nvlink_latency[1] = {0, 0, 4};
  tables.network_latency[1] = {0, 0, 14};
  tables.network_speeds = {48, 24};
  tables.channel_copies = 2;
  return tables;
}

constexpr NcclGroup kNode{.ranks = 8, .nodes = 1};
constexpr NcclGroup kTwoNodes{.ranks = 16, .nodes = 2};

double time(const ByLink& bytes, const NcclLinks& links) {
  return message_time(bytes, kTwoNodes, tables(), links).nanoseconds;
}

TEST(MessageTime, IsOfTheBusiestLink) {
  EXPECT_DOUBLE_EQ(time({370.8e6, 0, 0, 0}, dgx()), 1e6 + 12e3);
  EXPECT_DOUBLE_EQ(time({370.8e6, 370.8e6, 0, 0}, dgx()), 1e6 + 12e3);  // both ways at once
  EXPECT_DOUBLE_EQ(time({370.8e6, 0, 100e6, 0}, dgx()), 2e6 + 22e3);
  EXPECT_DOUBLE_EQ(time({0, 0, 50e6, 150e6}, dgx()), 3e6 + 22e3);
}

TEST(MessageTime, GpusShareTheNodesCards) {
  NcclLinks links = dgx();
  links.network_cards = 2;
  EXPECT_DOUBLE_EQ(time({0, 0, 12.5e6, 0}, links), 1e6 + 22e3);
}

TEST(MessageTime, IsNeverShorterForMoreBytes) {  // (1)
  std::mt19937 random(3);  // NOLINT(bugprone-random-generator-seed): the same in every run
  for (int round = 0; round < 500; ++round) {
    ByLink bytes{};
    for (double& one : bytes) {
      one = static_cast<double>(random() % 1000000);
    }
    ByLink more = bytes;
    more.at(random() % kNumGpuLinks) += 1000;
    EXPECT_GE(time(more, dgx()), time(bytes, dgx()));
  }
}

TEST(EvenMessages, GoToEachOther) {
  EXPECT_EQ(even_messages(kNode, 800), (ByLink{700, 700, 0, 0}));
  EXPECT_EQ(even_messages(kTwoNodes, 1600), (ByLink{700, 700, 800, 800}));
}

TEST(AddMessage, TakesTheWayOfItsDirection) {
  ByLink bytes{};
  add_message(&bytes, /*is_sent=*/true, /*crosses_nodes=*/false, 1);
  add_message(&bytes, /*is_sent=*/false, /*crosses_nodes=*/false, 2);
  add_message(&bytes, /*is_sent=*/true, /*crosses_nodes=*/true, 4);
  add_message(&bytes, /*is_sent=*/false, /*crosses_nodes=*/true, 8);
  EXPECT_EQ(bytes, (ByLink{1, 2, 4, 8}));
}

TEST(CollectiveBytes, OfARingGoOverLinksAndCards) {
  constexpr NcclChoice kSimple{.algorithm = NcclAlgorithm::kRing};
  EXPECT_EQ(collective_bytes(CollectiveKind::kAllGather, kNode, 800, kSimple),
            (ByLink{700, 700, 0, 0}));
  // 1500 leave a node over its eight cards; a GPU passes on all but its own channel's.
  EXPECT_EQ(collective_bytes(CollectiveKind::kAllGather, kTwoNodes, 1600, kSimple),
            (ByLink{1312.5, 1312.5, 187.5, 187.5}));
  EXPECT_EQ(collective_bytes(CollectiveKind::kAllGather, {.ranks = 4, .nodes = 4}, 400, kSimple),
            (ByLink{0, 0, 300, 300}));
}

TEST(CollectiveBytes, HaveTheFlagsOfTheProtocol) {
  const auto sent = [](NcclProtocol protocol) {
    return collective_bytes(CollectiveKind::kReduceScatter, kNode, 9600,
                            {.algorithm = NcclAlgorithm::kRing, .protocol = protocol})[0];
  };
  EXPECT_EQ(sent(NcclProtocol::kSimple), 8400);
  EXPECT_EQ(sent(NcclProtocol::kLl), 16800);
  EXPECT_EQ(sent(NcclProtocol::kLl128), 8960);
}

TEST(CollectiveBytes, OfNvlsGoToTheSwitchOnce) {
  constexpr NcclChoice kNvls{.algorithm = NcclAlgorithm::kNvls};
  EXPECT_EQ(collective_bytes(CollectiveKind::kAllReduce, kNode, 800, kNvls)[0], 800);
}

}  // namespace
}  // namespace polyrank
