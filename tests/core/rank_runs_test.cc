#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/rank_runs.h>

#include <random>
#include <vector>

namespace polyrank {
namespace {

using Ranks = std::vector<std::int64_t>;

std::string text(const Ranks& ranks) { return RankRuns::of(ranks).to_string(); }

void check_of(const Ranks& ranks) {
  const RankRuns runs = RankRuns::of(ranks);
  EXPECT_EQ(runs.to_vector(), ranks);  // (1)
  EXPECT_EQ(runs.size(), static_cast<std::int64_t>(ranks.size()));
  for (std::size_t i = 0; i + 1 < runs.runs().size(); ++i) {  // (2)
    const RankRun& run = runs.runs()[i];
    EXPECT_FALSE(run.step == 1 && run.first + run.count == runs.runs()[i + 1].first);
  }
}

TEST(RankRuns, OfRanks) {
  check_of({});
  std::mt19937 random(0);  // NOLINT(bugprone-random-generator-seed): the same in every run
  for (int round = 0; round < 500; ++round) {
    Ranks ranks;
    for (std::size_t i = 0, size = random() % 12; i < size; ++i) {
      ranks.push_back(static_cast<std::int64_t>(random() % 8));
    }
    check_of(ranks);
  }
}

TEST(RankRuns, AreShort) {
  EXPECT_EQ(text({}), "");
  EXPECT_EQ(text({7}), "7");
  EXPECT_EQ(text({0, 1, 2, 3, 8}), "0-3,8");
  EXPECT_EQ(text({0, 8, 16, 24}), "0-24 step 8");
  EXPECT_EQ(text({3, 2, 1, 0}), "3-0 step -1");
  EXPECT_EQ(text({0, 4}), "0,4");
  Ranks pairs;
  for (std::int64_t i = 0; i < 100; ++i) {
    pairs.insert(pairs.end(), {10 * i, 10 * i + 1});
  }
  EXPECT_EQ(RankRuns::of(pairs).to_string(2), "0-1,10-11… (200 ranks)");
}

TEST(RankRuns, OfOneRunCostsNothing) {
  const RankRuns runs = RankRuns::of_run({.first = 17, .count = 131072, .step = 8});
  EXPECT_EQ(runs.size(), 131072);
  EXPECT_EQ(runs.to_string(), "17-1048585 step 8");
  EXPECT_EQ(RankRuns::of_run({.first = 0, .count = 2, .step = 2}).to_string(), "0,2");
  EXPECT_EQ(RankRuns::of_run({.first = 3, .count = 0}), RankRuns());
  EXPECT_EQ(RankRuns::of_run({.first = 3, .count = 1, .step = 9}), RankRuns::of(Ranks{3}));
}

TEST(RankRuns, RefuseNegativeRanks) {
  EXPECT_THROW(RankRuns::of(Ranks{0, -1}), UsageError);
  EXPECT_THROW(RankRuns::of_run({.first = 2, .count = 4, .step = -1}), UsageError);
}

}  // namespace
}  // namespace polyrank
