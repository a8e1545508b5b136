#include <gtest/gtest.h>
#include <matching/launches.h>
#include <polyrank/matching/agreement.h>

#include <string>
#include <vector>

namespace polyrank {
namespace {

std::string disagreement_of(const std::vector<Launch>& launches, std::int64_t group_size = -1) {
  std::vector<RankLaunch> by_rank;
  by_rank.reserve(launches.size());
  for (std::size_t i = 0; i < launches.size(); ++i) {
    by_rank.push_back({static_cast<std::int64_t>(i), &launches[i]});
  }
  const auto size = group_size < 0 ? static_cast<std::int64_t>(launches.size()) : group_size;
  return disagreement(by_rank, size).value_or("");
}

Launch with_kind(Launch launch, CollectiveKind kind) {
  launch.kind = kind;
  return launch;
}

Launch with_dtype(Launch launch, const std::string& dtype) {
  launch.inputs.front().dtype = dtype;
  return launch;
}

TEST(AgreementTest, EqualLaunchesAgree) {
  EXPECT_EQ(disagreement_of({all_reduce({4}), all_reduce({4}), all_reduce({4})}), "");
  EXPECT_EQ(disagreement_of({barrier(), barrier()}), "");
}

TEST(AgreementTest, WhereTheyWereLaunchedDoesNotMatter) {
  EXPECT_TRUE(agrees(broadcast(0, "a.py:1"), broadcast(0, "b.py:2")));
}

// One kind of difference each, between two launches.
struct Difference {
  std::string name;
  Launch odd;
};

TEST(AgreementTest, EachDifferenceIsSeenAndBothSidesAreNamed) {
  const std::vector<Difference> differences = {
      {"kind", with_kind(all_reduce({4}), CollectiveKind::kReduceScatter)},
      {"numel", all_reduce({5})},
      {"shape", all_reduce({2, 2})},
      {"dtype", with_dtype(all_reduce({4}), "float64")},
      {"reduce op", all_reduce({4}, ReduceOp::kMax)},
  };
  for (const Difference& difference : differences) {
    EXPECT_FALSE(agrees(all_reduce({4}), difference.odd)) << difference.name;
    EXPECT_FALSE(agrees(difference.odd, all_reduce({4}))) << difference.name;
    const std::string text =
        disagreement_of({all_reduce({4}), all_reduce({4}), all_reduce({4}), difference.odd});
    EXPECT_NE(text.find("  ranks 0-2: " + to_string(all_reduce({4}))), std::string::npos) << text;
    EXPECT_NE(text.find("  rank 3: " + to_string(difference.odd)), std::string::npos) << text;
  }
  EXPECT_FALSE(agrees(broadcast(0), broadcast(1)));
}

TEST(AgreementTest, SidesAtDifferentLinesAreSeparateAndInOrderOfTheirLowestRank) {
  const std::vector<Launch> launches = {all_reduce({4}, ReduceOp::kSum, "z.py:9"),
                                        all_reduce({4}, ReduceOp::kSum, "a.py:1"),
                                        all_reduce({4}, ReduceOp::kSum, "z.py:9")};
  const std::vector<RankLaunch> by_rank = {
      {0, &launches.at(0)}, {1, &launches.at(1)}, {2, &launches.at(2)}};
  EXPECT_EQ(sides(by_rank),
            "  ranks 0,2: all_reduce(sum) float32[4]  z.py:9\n"
            "  rank 1: all_reduce(sum) float32[4]  a.py:1\n");
}

TEST(AgreementTest, ScatterComparesWhatTheRootHandsOut) {
  Launch root{.kind = CollectiveKind::kScatter, .outputs = {{"float32", {2}}}};
  root.inputs.assign(2, {"float32", {2}});
  const Launch other{.kind = CollectiveKind::kScatter, .outputs = {{"float32", {2}}}};
  EXPECT_TRUE(agrees(root, other));
  const Launch odd{.kind = CollectiveKind::kScatter, .outputs = {{"float32", {3}}}};
  EXPECT_FALSE(agrees(root, odd));
}

TEST(AgreementTest, UnevenListsOfAnAllGatherAgreeIfAllExpectTheSame) {
  Launch first{.kind = CollectiveKind::kAllGather,
               .inputs = {{"float32", {2}}},
               .outputs = {{"float32", {2}}, {"float32", {3}}}};
  Launch second = first;
  second.inputs = {{"float32", {3}}};
  EXPECT_TRUE(agrees(first, second));
  second.outputs.back().sizes = {4};
  EXPECT_FALSE(agrees(first, second));
  first.outputs = {{"float32", {4}}};
  second.outputs = first.outputs;
  EXPECT_FALSE(agrees(first, second));  // one tensor is gathered into: inputs must be alike
}

TEST(AgreementTest, PiecesOfAnAllToAllMustFitPairByPair) {
  const Launch rank0 = all_to_all({1, 2}, {1, 3}, 3, 4);
  const Launch rank1 = all_to_all({3, 1}, {2, 1}, 4, 3);
  EXPECT_EQ(disagreement_of({rank0, rank1}), "");
  const Launch odd = all_to_all({3, 1}, {1, 1}, 4, 2);
  EXPECT_NE(
      disagreement_of({rank0, odd}).find("rank 0 sends 4 elements to rank 1, which expects 2."),
      std::string::npos);
}

TEST(AgreementTest, PiecesAreOnlyComparedWhenAllHaveCome) {
  const Launch rank0 = all_to_all({1, 2}, {1, 3}, 3, 4);
  const Launch odd = all_to_all({3, 1}, {1, 1}, 4, 2);
  EXPECT_EQ(disagreement_of({rank0, odd}, 3), "");
}

}  // namespace
}  // namespace polyrank
