#include <gtest/gtest.h>
#include <polyrank/collective/cost_model.h>
#include <polyrank/core/errors.h>

#include <array>
#include <set>

namespace polyrank {
namespace {

using Kind = CollectiveKind;
using Algorithm = CollectiveAlgorithm;

void expect_cost(Kind kind, Algorithm algorithm, std::int64_t group_size, std::int64_t payload,
                 CollectiveCost expected) {
  const auto cost = collective_cost(kind, algorithm, group_size, payload);
  ASSERT_TRUE(cost.has_value());
  EXPECT_EQ(cost->steps, expected.steps) << to_string(kind) << " " << to_string(algorithm);
  EXPECT_EQ(cost->wire_bytes, expected.wire_bytes)
      << to_string(kind) << " " << to_string(algorithm);
}

TEST(CostModel, OfEightRanksAndAKilobyte) {
  constexpr std::int64_t kPayload = 1024;
  constexpr std::int64_t kPart = kPayload / 8;  // of each rank
  const auto of_eight = [](Kind kind, Algorithm algorithm, CollectiveCost expected) {
    expect_cost(kind, algorithm, 8, kPayload, expected);
  };
  of_eight(Kind::kAllReduce, Algorithm::kRing, {14, 14 * kPart});
  of_eight(Kind::kAllReduce, Algorithm::kTree, {6, 3 * kPayload});
  of_eight(Kind::kAllReduce, Algorithm::kHalvingDoubling, {6, 14 * kPart});
  of_eight(Kind::kAllReduce, Algorithm::kDirect, {1, 7 * kPayload});
  of_eight(Kind::kAllGather, Algorithm::kRing, {7, 7 * kPart});
  of_eight(Kind::kAllGather, Algorithm::kHalvingDoubling, {3, 7 * kPart});
  of_eight(Kind::kReduceScatter, Algorithm::kHalvingDoubling, {3, 7 * kPart});
  of_eight(Kind::kBroadcast, Algorithm::kTree, {3, 3 * kPayload});
  of_eight(Kind::kBroadcast, Algorithm::kDirect, {1, 7 * kPayload});
  of_eight(Kind::kReduce, Algorithm::kTree, {3, kPayload});
  of_eight(Kind::kGather, Algorithm::kTree, {3, 4 * kPart});
  of_eight(Kind::kGather, Algorithm::kDirect, {1, kPart});
  of_eight(Kind::kScatter, Algorithm::kTree, {3, 7 * kPart});
  of_eight(Kind::kAllToAll, Algorithm::kDirect, {7, 7 * kPart});
  of_eight(Kind::kSend, Algorithm::kDirect, {1, kPayload});
  of_eight(Kind::kReceive, Algorithm::kDirect, {1, 0});
  of_eight(Kind::kBarrier, Algorithm::kDirect, {1, 0});
  of_eight(Kind::kMonitoredBarrier, Algorithm::kDirect, {2, 0});
}

TEST(CostModel, OfSizesThatAreNoPowersOfTwo) {
  // Ranks 4 and 5 of 6 give what they have to a partner; the other four halve and double.
  expect_cost(Kind::kAllReduce, Algorithm::kHalvingDoubling, 6, 1200, {6, 2 * 900 + 1200});
  expect_cost(Kind::kReduceScatter, Algorithm::kHalvingDoubling, 6, 1200, {4, 1200});
  expect_cost(Kind::kBroadcast, Algorithm::kTree, 5, 100, {3, 300});
  expect_cost(Kind::kGather, Algorithm::kTree, 6, 600, {3, 200});
  expect_cost(Kind::kAllGather, Algorithm::kRing, 3, 10, {2, 8});  // parts of 4, 4 and 2 bytes
}

TEST(CostModel, LawsOfEachRow) {
  for (const CostRow& row : cost_table()) {
    EXPECT_EQ(collective_cost(row.kind, row.algorithm, 1, 4096), CollectiveCost{});  // (1)
    for (std::int64_t group_size = 2; group_size <= 33; ++group_size) {
      std::int64_t before = 0;
      for (const std::int64_t payload : {0, 1, 7, 64, 4096}) {
        const auto cost = collective_cost(row.kind, row.algorithm, group_size, payload).value();
        EXPECT_GE(cost.wire_bytes, before);  // (3)
        EXPECT_GE(cost.steps, 1);
        before = cost.wire_bytes;
      }
    }
    EXPECT_FALSE(row.formula.empty());
    EXPECT_FALSE(row.source.empty());
  }
  for (const Kind kind : {Kind::kAllReduce, Kind::kAllGather, Kind::kReduceScatter}) {
    for (std::int64_t group_size = 2; group_size <= 1024; group_size *= 2) {  // (2)
      EXPECT_EQ(collective_cost(kind, Algorithm::kRing, group_size, 1 << 20).value().wire_bytes,
                collective_cost(kind, Algorithm::kHalvingDoubling, group_size, 1 << 20)
                    .value()
                    .wire_bytes);
    }
  }
}

TEST(CostModel, EachLaunchHasAUsualAlgorithm) {
  for (int i = 0; i <= static_cast<int>(Kind::kWait); ++i) {
    const auto kind = static_cast<Kind>(i);
    const bool is_launch = kind != Kind::kNotACollective && kind != Kind::kWait;
    EXPECT_EQ(usual_algorithm(kind).has_value(), is_launch) << to_string(kind);
  }
  EXPECT_EQ(usual_algorithm(Kind::kAllReduce), Algorithm::kRing);
  EXPECT_EQ(usual_algorithm(Kind::kBroadcast), Algorithm::kTree);
  EXPECT_EQ(collective_cost(Kind::kAllToAll, Algorithm::kRing, 4, 1), std::nullopt);
}

TEST(CostModel, WireBytesAreOfTheUsualAlgorithm) {
  const auto ring = collective_cost(Kind::kAllReduce, Algorithm::kRing, 4, 4096);
  ASSERT_TRUE(ring.has_value());
  EXPECT_EQ(usual_wire_bytes(Kind::kAllReduce, 4, 4096), ring->wire_bytes);
  EXPECT_EQ(usual_wire_bytes(Kind::kWait, 4, 4096), 0);
}

TEST(CostModel, NoRowTwice) {
  std::set<std::pair<Kind, Algorithm>> seen;
  for (const CostRow& row : cost_table()) {
    EXPECT_TRUE(seen.emplace(row.kind, row.algorithm).second);
  }
}

TEST(CostModel, PayloadIsTheWholeBuffer) {
  EXPECT_EQ(payload_bytes(Kind::kAllReduce, 4, 10, 10), 10);
  EXPECT_EQ(payload_bytes(Kind::kAllGather, 4, 10, 0), 40);
  EXPECT_EQ(payload_bytes(Kind::kAllGather, 4, 10, 37), 37);
  EXPECT_EQ(payload_bytes(Kind::kReduceScatter, 4, 40, 10), 40);
  EXPECT_EQ(payload_bytes(Kind::kScatter, 4, 0, 10), 40);
  EXPECT_EQ(payload_bytes(Kind::kAllToAll, 4, 30, 50), 30);
  EXPECT_EQ(payload_bytes(Kind::kReceive, 4, 0, 10), 10);
  EXPECT_EQ(payload_bytes(Kind::kSendReceive, 4, 10, 20), 10);
  EXPECT_EQ(payload_bytes(Kind::kBarrier, 4, 0, 0), 0);
}

TEST(CostModel, NamesGoBothWays) {
  for (const auto algorithm :
       {Algorithm::kRing, Algorithm::kTree, Algorithm::kHalvingDoubling, Algorithm::kDirect}) {
    EXPECT_EQ(algorithm_from_name(to_string(algorithm)), algorithm);
  }
  EXPECT_THROW(algorithm_from_name("star"), UsageError);
}

}  // namespace
}  // namespace polyrank
