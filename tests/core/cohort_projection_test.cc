#include <core/sample_partitions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/cohort_projection.h>
#include <polyrank/core/errors.h>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Law (1) of project() where `fine` refines `coarse`, the error where it does not.
void check_project(const RankPartition& fine, const RankPartition& coarse) {
  if (!refines(fine, coarse)) {
    EXPECT_THROW((void)project(fine, coarse), UsageError);
    return;
  }
  const CohortProjection projection = project(fine, coarse);
  for (std::int32_t cohort = 0; cohort < fine.num_cohorts(); ++cohort) {
    EXPECT_TRUE(fine.cohort(cohort).is_subset_of(coarse.cohort(projection[cohort])));  // (1)
  }
  EXPECT_EQ(projection.is_identity(), fine == coarse);
}

TEST(CohortProjection, AllPairsOfPartitionsOfUpToSixRanks) {
  for (std::int64_t size = 0; size <= 6; ++size) {
    const std::vector<RankPartition> partitions = all_partitions(ranks_with_gaps(size));
    for (const RankPartition& fine : partitions) {
      for (const RankPartition& coarse : partitions) {
        check_project(fine, coarse);
      }
    }
  }
}

TEST(CohortProjection, RandomPartitions) {
  Random random(41);
  for (int round = 0; round < 60; ++round) {
    const RankSet ranks = random_ranks(random.between(7, 2000), &random);
    const RankPartition a = random_partition(ranks, &random);
    const RankPartition b = random_partition(ranks, &random);
    check_project(a, b);
    check_project(meet(a, b), a);
    check_project(meet(a, b), b);
    check_project(a, a.coarsen(random_labels(a.num_cohorts(), &random)));
    check_project(RankPartition::identity(ranks), a);
    check_project(a, RankPartition::uniform(ranks));
  }
}

TEST(CohortProjection, MapsToItselfUnlessTold) {
  const CohortProjection projection;
  EXPECT_TRUE(projection.is_identity());
  EXPECT_EQ(projection[0], 0);
  EXPECT_EQ(projection[1048575], 1048575);
}

TEST(CohortProjection, ErrorsSayWhatIsWrong) {
  const RankSet ranks = RankSet::first(4);
  const RankPartition halves = RankPartition::from_labels(ranks, Ranks{0, 0, 1, 1});
  const RankPartition evens = RankPartition::from_labels(ranks, Ranks{0, 1, 0, 1});
  EXPECT_THAT([&] { (void)project(halves, evens); },
              ThrowsMessage<UsageError>(
                  HasSubstr("cohorts {0-1} {2-3} do not each lie in one of {0,2} {1,3}")));
  const RankPartition others = RankPartition::uniform(RankSet::first(5));
  EXPECT_THAT([&] { (void)project(halves, others); },
              ThrowsMessage<UsageError>(HasSubstr("ranks 0-3 and ranks 0-4")));
}

}  // namespace
}  // namespace polyrank
