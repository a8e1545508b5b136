#include <gtest/gtest.h>
#include <polyrank/timeline/nccl_time.h>
#include <timeline/hopper.h>

#include <random>

namespace polyrank {
namespace {

using enum NcclAlgorithm;
using enum NcclProtocol;

double latency(CollectiveKind kind, const NcclGroup& group, NcclAlgorithm algorithm,
               NcclProtocol protocol, const NcclLinks& links) {
  return nccl_time_of(kind, group, 0, hopper(), links, algorithm, protocol) / 1e3;
}

// GB/s of the payload, of large collectives.
double bandwidth(CollectiveKind kind, const NcclGroup& group, NcclAlgorithm algorithm,
                 NcclProtocol protocol, const NcclLinks& links) {
  const auto time = [&](double bytes) {
    return nccl_time_of(kind, group, bytes, hopper(), links, algorithm, protocol);
  };
  return 1e12 / (time(2e12) - time(1e12));
}

// The table that NCCL 2.29.7 printed (NCCL_DEBUG_SUBSYS=TUNING) for two nodes of one GPU, whose
// channels bring 2.4 GB/s, in the notes of the repository nccl-eBPF.
TEST(NcclTime, IsWhatNcclPrintedForTwoNodes) {
  const NcclLinks sockets{.has_nvlink = false, .gpu_links = 24, .network = 2.4};
  const NcclGroup pair{.ranks = 2, .nodes = 2};
  const auto of = [&](CollectiveKind kind, NcclAlgorithm algorithm, NcclProtocol protocol) {
    return latency(kind, pair, algorithm, protocol, sockets);
  };
  EXPECT_NEAR(of(CollectiveKind::kBroadcast, kRing, kLl), 9.3, 0.05);
  EXPECT_NEAR(of(CollectiveKind::kBroadcast, kRing, kSimple), 22.4, 0.05);
  EXPECT_NEAR(of(CollectiveKind::kAllGather, kRing, kLl), 11.6, 0.05);
  EXPECT_NEAR(of(CollectiveKind::kReduceScatter, kRing, kSimple), 22.4, 0.05);
  EXPECT_NEAR(of(CollectiveKind::kAllReduce, kTree, kLl), 16.8, 0.05);
  EXPECT_NEAR(of(CollectiveKind::kAllReduce, kTree, kSimple), 36.4, 0.05);
  EXPECT_NEAR(of(CollectiveKind::kAllReduce, kRing, kLl), 16.6, 0.05);
  EXPECT_NEAR(of(CollectiveKind::kAllReduce, kRing, kSimple), 36.4, 0.05);
  const auto speed = [&](CollectiveKind kind, NcclProtocol protocol) {
    return bandwidth(kind, pair, kRing, protocol, sockets);
  };
  EXPECT_NEAR(speed(CollectiveKind::kBroadcast, kLl), 1.2, 0.05);
  EXPECT_NEAR(speed(CollectiveKind::kBroadcast, kSimple), 2.4, 0.05);
  EXPECT_NEAR(speed(CollectiveKind::kAllGather, kLl), 2.4, 0.05);
  EXPECT_NEAR(speed(CollectiveKind::kAllGather, kSimple), 4.8, 0.05);
  EXPECT_NEAR(speed(CollectiveKind::kAllReduce, kLl), 1.2, 0.05);
  EXPECT_NEAR(speed(CollectiveKind::kAllReduce, kSimple), 2.4, 0.05);
}

// From the same notes: broadcasts of up to 16 KiB ran with LL, of 32 KiB and more with Simple.
TEST(NcclTime, ChangesTheProtocolWhereNcclDid) {
  const NcclLinks sockets{.has_nvlink = false, .gpu_links = 24, .network = 2.4};
  const auto chosen = [&](double bytes) {
    return nccl_time(CollectiveKind::kBroadcast, {.ranks = 2, .nodes = 2}, bytes, hopper(), sockets)
        .protocol;
  };
  EXPECT_EQ(chosen(1024), kLl);
  EXPECT_EQ(chosen(16384), kLl);
  EXPECT_EQ(chosen(32768), kSimple);
  EXPECT_EQ(chosen(1 << 26), kSimple);
}

// NCCL's authors expect 360 GB/s on the bus of eight H100 without NVLS (nccl-tests issue 326).
TEST(NcclTime, AllGathersOfANodeReachTheBusThatIsExpected) {
  const NcclChoice choice =
      nccl_time(CollectiveKind::kAllGather, {.ranks = 8, .nodes = 1}, 16e9, hopper(), dgx());
  EXPECT_EQ(choice.algorithm, kRing);
  EXPECT_EQ(choice.protocol, kSimple);
  EXPECT_NEAR(16e9 / choice.nanoseconds * 7 / 8, 360, 1);
}

// Twelve are found, and run twice (connect.cc); NVLS runs on its sixteen.
TEST(NcclTime, RingsRunOnCopiesOfTheirChannels) {
  NcclTables tables = hopper();
  tables.channel_copies = 2;
  const NcclGroup group{.ranks = 8, .nodes = 1};
  EXPECT_EQ(nccl_time(CollectiveKind::kAllGather, group, 16e9, tables, dgx()).channels, 24);
  EXPECT_EQ(nccl_time(CollectiveKind::kAllReduce, group, 8e9, tables, dgx()).channels, 16);
}

// 476 GB/s were measured, and called expected (nccl-tests issue 290).
TEST(NcclTime, AllReducesOfANodeTakeNvls) {
  const NcclChoice choice =
      nccl_time(CollectiveKind::kAllReduce, {.ranks = 8, .nodes = 1}, 8e9, hopper(), dgx());
  EXPECT_EQ(choice.algorithm, kNvls);
  EXPECT_NEAR(8e9 / choice.nanoseconds * 14 / 8, 476, 476 * 0.1);
  NcclTables ampere = hopper();
  ampere.nvls_efficiency = 0;
  EXPECT_EQ(
      nccl_time(CollectiveKind::kAllReduce, {.ranks = 8, .nodes = 1}, 8e9, ampere, dgx()).algorithm,
      kRing);
}

// 340 GB/s on the bus were measured on 256 H100 (nccl issue 1218).
TEST(NcclTime, AllGathersOfManyNodesReachTheNetworksSpeed) {
  const NcclChoice choice =
      nccl_time(CollectiveKind::kAllGather, {.ranks = 256, .nodes = 32}, 8e9, hopper(), dgx());
  EXPECT_NEAR(8e9 / choice.nanoseconds * 255 / 256, 340, 340 * 0.15);
}

TEST(NcclTime, AGroupWithOneGpuANodeHasOneNetworkCard) {
  const NcclChoice choice =
      nccl_time(CollectiveKind::kAllReduce, {.ranks = 4, .nodes = 4}, 8e9, hopper(), dgx());
  EXPECT_NEAR(8e9 / choice.nanoseconds * 6 / 4, 48, 1);
}

TEST(NcclTime, GroupsThatShareCardsGetTheirShare) {
  NcclLinks links = dgx();
  links.network_cards = 4;
  const auto time = [&](const NcclGroup& group, const NcclLinks& of) {
    return nccl_time(CollectiveKind::kAllGather, group, 8e9, hopper(), of);
  };
  const NcclGroup one_a_node{.ranks = 4, .nodes = 4};
  EXPECT_EQ(time(one_a_node, links).protocol, time(one_a_node, dgx()).protocol);
  EXPECT_NEAR(time(one_a_node, links).nanoseconds / time(one_a_node, dgx()).nanoseconds, 48.0 / 25,
              0.01);
  const NcclGroup whole_nodes{.ranks = 32, .nodes = 4};
  EXPECT_NEAR(time(whole_nodes, links).nanoseconds / time(whole_nodes, dgx()).nanoseconds, 2, 0.01);
}

TEST(NcclTime, HopperTreesThatLeaveByOneGpuAreSlower) {
  const auto speed = [](const NcclTables& tables) {
    const auto time = [&](double bytes) {
      return nccl_time_of(CollectiveKind::kAllReduce, {.ranks = 32, .nodes = 4}, bytes, tables,
                          dgx(), kTree, kSimple);
    };
    return 1e12 / (time(2e12) - time(1e12));
  };
  NcclTables two_ways = hopper();
  two_ways.trees_have_one_way = false;
  EXPECT_NEAR(speed(hopper()) / speed(two_ways), 0.85, 1e-6);
}

TEST(NcclTime, LawsHoldForAnyGroup) {
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed): the same in every run
  constexpr std::array kKinds{CollectiveKind::kAllReduce, CollectiveKind::kAllGather,
                              CollectiveKind::kReduceScatter, CollectiveKind::kBroadcast};
  for (int run = 0; run < 2000; ++run) {
    const CollectiveKind kind = kKinds.at(random() % kKinds.size());
    const auto nodes = static_cast<std::int64_t>(1 + random() % 64);
    const NcclGroup group{.ranks = nodes * static_cast<std::int64_t>(1 + random() % 8),
                          .nodes = nodes};
    const auto bytes = static_cast<double>(random() % (1U << 30));
    const NcclChoice best = nccl_time(kind, group, bytes, hopper(), dgx());
    if (group.ranks == 1) {
      ASSERT_EQ(best.nanoseconds, 0);  // (1)
      continue;
    }
    ASSERT_GT(best.nanoseconds, 0);
    ASSERT_GE(best.nanoseconds, nccl_time_of(kind, group, bytes, hopper(), dgx(), best.algorithm,
                                             best.protocol));  // (4)
    for (const NcclAlgorithm algorithm : {kTree, kRing, kNvls, kNvlsTree}) {
      for (const NcclProtocol protocol : {kLl, kLl128, kSimple}) {
        const auto time = [&](double of) {
          return nccl_time_of(kind, group, of, hopper(), dgx(), algorithm, protocol);
        };
        if (time(bytes) >= 0) {
          ASSERT_GE(time(bytes), best.nanoseconds);      // (3)
          ASSERT_GE(time(bytes * 2 + 64), time(bytes));  // (2)
        }
      }
    }
  }
}

}  // namespace
}  // namespace polyrank
