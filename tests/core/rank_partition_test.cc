#include <core/sample_partitions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/rank_partition.h>

#include <algorithm>
#include <map>
#include <thread>
#include <unordered_set>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int64_t kMillion = std::int64_t{1} << 20;

Ranks labels_of(const RankPartition& partition) {
  Ranks labels;
  for (std::int64_t index = 0; index < partition.ranks().size(); ++index) {
    labels.push_back(partition.cohort_at(index));
  }
  return labels;
}

// That ranks of `partition` share a cohort iff their labels agree, and the invariants of
// rank_partition.h, by their numbers.
void check_partition(const RankPartition& partition, const RankSet& ranks, const Ranks& labels) {
  SCOPED_TRACE(partition.to_string());
  ASSERT_EQ(partition.ranks(), ranks);
  std::map<std::int64_t, Ranks> members;
  std::vector<std::int64_t> order;  // labels by lowest rank
  for (std::size_t i = 0; i < labels.size(); ++i) {
    Ranks& same_label = members[labels[i]];
    if (same_label.empty()) {
      order.push_back(labels[i]);
    }
    same_label.push_back(ranks.rank_at(static_cast<std::int64_t>(i)));
  }
  ASSERT_EQ(partition.num_cohorts(), static_cast<std::int32_t>(order.size()));
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto cohort = static_cast<std::int32_t>(i);
    const Ranks& expected = members[order[i]];
    EXPECT_EQ(partition.cohort(cohort).to_vector(), expected);   // (1)
    EXPECT_EQ(partition.lowest_rank(cohort), expected.front());  // (2)
    for (const std::int64_t rank : expected) {
      EXPECT_EQ(partition.cohort_of(rank), cohort);  // (1)
      EXPECT_EQ(partition.cohort_at(ranks.index_of(rank)), cohort);
    }
  }
  EXPECT_EQ(partition.is_uniform(), order.size() <= 1);
  EXPECT_EQ(partition.is_identity(), order.size() == labels.size());
  EXPECT_EQ(RankPartition::from_labels(ranks, labels), partition);  // (3)
  EXPECT_EQ(RankPartition::from_labels(ranks, labels).hash(), partition.hash());
}

// Labels that agree iff those in both lists do.
Ranks pairs(const Ranks& a, const Ranks& b) {
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> numbers;
  Ranks labels;
  for (std::size_t i = 0; i < a.size(); ++i) {
    labels.push_back(numbers.emplace(std::pair(a[i], b[i]), numbers.size()).first->second);
  }
  return labels;
}

void check_meet(const RankPartition& a, const RankPartition& b) {
  const RankPartition met = meet(a, b);
  const Ranks labels = labels_of(met);
  EXPECT_EQ(pairs(labels, labels_of(a)), labels);        // (1) in one cohort of `a`
  EXPECT_EQ(pairs(labels, labels_of(b)), labels);        // (1) in one cohort of `b`
  EXPECT_EQ(pairs(labels_of(a), labels_of(b)), labels);  // (2)
  EXPECT_EQ(meet(a, a), a);                              // (3)
  EXPECT_EQ(meet(b, a), met);                            // (4)
  EXPECT_EQ(meet(a, b), met);                            // from the table as well
  EXPECT_EQ(met.ranks(), a.ranks());
}

void check_refines(const RankPartition& fine, const RankPartition& coarse) {
  EXPECT_EQ(refines(fine, coarse), meet(fine, coarse) == fine);  // (1)
  // From the definition: knowing the coarse cohort as well tells no ranks of a fine cohort apart.
  const Ranks labels = labels_of(fine);
  EXPECT_EQ(refines(fine, coarse), pairs(labels, labels_of(coarse)) == labels);
}

void check_coarsen(const RankPartition& partition, const Ranks& label_of_cohort) {
  const RankPartition coarse = partition.coarsen(label_of_cohort);
  Ranks expected;
  for (const std::int64_t cohort : labels_of(partition)) {
    expected.push_back(label_of_cohort[static_cast<std::size_t>(cohort)]);
  }
  EXPECT_TRUE(refines(partition, coarse));               // (1)
  check_partition(coarse, partition.ranks(), expected);  // (2)
}

void check_restrict_to(const RankPartition& partition, const RankSet& subset) {
  Ranks labels;
  for (const std::int64_t rank : subset) {
    labels.push_back(partition.cohort_of(rank));
  }
  check_partition(partition.restrict_to(subset), subset, labels);
}

// The ranks at the positions that are set in `bits`.
RankSet subset_of(const RankSet& ranks, unsigned bits) {
  Ranks chosen;
  for (std::int64_t index = 0; index < ranks.size(); ++index) {
    if ((bits >> static_cast<unsigned>(index) & 1U) != 0) {
      chosen.push_back(ranks.rank_at(index));
    }
  }
  return RankSet::of(chosen);
}

std::vector<RankSet> cohorts_of(const RankPartition& partition) {
  std::vector<RankSet> cohorts;
  cohorts.reserve(static_cast<std::size_t>(partition.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    cohorts.push_back(partition.cohort(cohort));
  }
  return cohorts;
}

TEST(RankPartition, AllPartitionsOfUpToSixRanks) {
  for (std::int64_t size = 0; size <= 6; ++size) {
    for (const RankSet& ranks : {RankSet::first(size), ranks_with_gaps(size)}) {
      std::unordered_set<RankPartition> distinct;
      for (const Ranks& labels : all_labelings(size)) {
        const RankPartition partition = RankPartition::from_labels(ranks, labels);
        EXPECT_TRUE(distinct.insert(partition).second);
        check_partition(partition, ranks, labels);
        std::vector<RankSet> cohorts = cohorts_of(partition);
        std::ranges::reverse(cohorts);
        EXPECT_EQ(RankPartition::from_cohorts(cohorts), partition);
      }
    }
  }
}

TEST(RankPartition, PairsOfAllPartitionsOfUpToSixRanks) {
  for (std::int64_t size = 0; size <= 6; ++size) {
    for (const RankSet& ranks : {RankSet::first(size), ranks_with_gaps(size)}) {
      const std::vector<RankPartition> partitions = all_partitions(ranks);
      for (const RankPartition& a : partitions) {
        for (const RankPartition& b : partitions) {
          check_meet(a, b);
          check_refines(a, b);
        }
      }
    }
  }
}

TEST(RankPartition, CoarsenedAndRestrictedInAllWaysOfUpToSixRanks) {
  for (std::int64_t size = 0; size <= 6; ++size) {
    const RankSet ranks = ranks_with_gaps(size);
    for (const RankPartition& partition : all_partitions(ranks)) {
      for (const Ranks& labels : all_labelings(partition.num_cohorts())) {
        check_coarsen(partition, labels);
      }
      for (unsigned bits = 0; bits < (1U << static_cast<unsigned>(size)); ++bits) {
        check_restrict_to(partition, subset_of(ranks, bits));
      }
    }
  }
}

TEST(RankPartition, RandomPartitions) {
  Random random(23);
  for (int round = 0; round < 80; ++round) {
    const RankSet ranks = random_ranks(random.between(7, 2000), &random);
    const Ranks labels = random_labels(ranks.size(), &random);
    const RankPartition a = RankPartition::from_labels(ranks, labels);
    const RankPartition b = random_partition(ranks, &random);
    check_partition(a, ranks, labels);
    EXPECT_EQ(RankPartition::from_cohorts(cohorts_of(a)), a);
    check_meet(a, b);
    check_refines(a, b);
    check_refines(meet(a, b), b);
    check_coarsen(a, random_labels(a.num_cohorts(), &random));
    Ranks chosen;
    for (const std::int64_t rank : ranks) {
      if (random.below(3) == 0) {
        chosen.push_back(rank);
      }
    }
    check_restrict_to(a, RankSet::of(chosen));
  }
}

// Through the table of pairs and cohort by cohort: each way is taken by some of these.
TEST(RankPartition, OverlayKeepsTheOneWhereTheOtherHasNoRanks) {
  Random random(11);
  for (int round = 0; round < 200; ++round) {
    const RankSet ranks = RankSet::first(random.between(1, 12));
    Ranks chosen;
    Ranks over_labels;
    Ranks under_labels;
    for (const std::int64_t rank : ranks) {
      under_labels.push_back(random.below(4));
      if (random.below(2) == 0) {
        chosen.push_back(rank);
        over_labels.push_back(random.below(4));
      }
    }
    if (chosen.empty()) {
      continue;
    }
    const RankPartition over = RankPartition::from_labels(RankSet::of(chosen), over_labels);
    const RankPartition under = RankPartition::from_labels(ranks, under_labels);
    const RankPartition both = overlay(over, under);
    EXPECT_EQ(overlay(over, under), both);  // from the table as well
    EXPECT_EQ(both.ranks(), ranks);
    for (const std::int64_t a : ranks) {
      for (const std::int64_t b : ranks) {
        const bool has_a = over.ranks().contains(a);
        const bool is_one =
            has_a ? over.ranks().contains(b) && over.cohort_of(a) == over.cohort_of(b)
                  : !over.ranks().contains(b) && under.cohort_of(a) == under.cohort_of(b);
        EXPECT_EQ(both.cohort_of(a) == both.cohort_of(b), is_one);  // (1)
      }
    }
  }
  EXPECT_THROW(
      overlay(RankPartition::uniform(RankSet::first(5)), RankPartition::uniform(RankSet::first(4))),
      UsageError);
}

TEST(RankPartition, MeetOfFewAndOfManyCohorts) {
  Random random(29);
  constexpr std::int64_t kSize = 2000;
  const RankSet ranks = RankSet::first(kSize);
  for (const std::int64_t num_a : {2L, 40L, 700L, 1990L}) {
    for (const std::int64_t num_b : {2L, 40L, 700L, 1990L}) {
      Ranks a;
      Ranks b;
      for (std::int64_t i = 0; i < kSize; ++i) {
        a.push_back(random.below(num_a));
        b.push_back(random.below(num_b));
      }
      check_meet(RankPartition::from_labels(ranks, a), RankPartition::from_labels(ranks, b));
    }
  }
}

TEST(RankPartition, UniformAndIdentity) {
  for (const std::int64_t size : {0L, 1L, 2L, 9L}) {
    const RankSet ranks = ranks_with_gaps(size);
    check_partition(RankPartition::uniform(ranks), ranks, Ranks(static_cast<std::size_t>(size), 7));
    check_partition(RankPartition::identity(ranks), ranks, ranks.to_vector());
  }
  EXPECT_EQ(RankPartition::uniform(RankSet::first(1)), RankPartition::identity(RankSet::first(1)));
  EXPECT_EQ(RankPartition(), RankPartition::uniform(RankSet()));
  EXPECT_EQ(RankPartition(), RankPartition::identity(RankSet()));
  EXPECT_EQ(RankPartition(), RankPartition::from_cohorts({}));
  EXPECT_EQ(RankPartition().num_cohorts(), 0);
}

TEST(RankPartition, AMillionRanks) {
  const RankSet world = RankSet::first(kMillion);
  Ranks tensor_parallel;  // as a mesh of dp x tp = 131072 x 8 shards a weight
  Ranks data_parallel;
  for (std::int64_t rank = 0; rank < kMillion; ++rank) {
    tensor_parallel.push_back(rank % 8);
    data_parallel.push_back(rank / 8);
  }
  const RankPartition tp = RankPartition::from_labels(world, tensor_parallel);
  const RankPartition dp = RankPartition::from_labels(world, data_parallel);
  EXPECT_EQ(tp.num_cohorts(), 8);
  EXPECT_EQ(tp.cohort(3).size(), kMillion / 8);
  EXPECT_EQ(dp.lowest_rank(dp.num_cohorts() - 1), kMillion - 8);
  EXPECT_EQ(meet(tp, dp), RankPartition::identity(world));
  EXPECT_TRUE(refines(RankPartition::identity(world), tp));
  EXPECT_FALSE(refines(tp, dp));
  EXPECT_EQ(tp.restrict_to(RankSet::range(16, 24)),
            RankPartition::identity(RankSet::range(16, 24)));
}

TEST(RankPartition, EqualContentOfOtherRanksDiffers) {
  EXPECT_NE(RankPartition::uniform(RankSet::range(0, 4)),
            RankPartition::uniform(RankSet::range(1, 5)));
  // These two sets of ranks have one hash.
  ASSERT_EQ(RankSet::first(33).hash(), RankSet::range(1, 2).hash());
  EXPECT_NE(RankPartition::uniform(RankSet::first(33)),
            RankPartition::uniform(RankSet::range(1, 2)));
}

TEST(RankPartition, ErrorsSayWhatIsWrong) {
  const RankSet ranks = RankSet::first(4);
  const RankPartition halves = RankPartition::from_labels(ranks, Ranks{0, 0, 1, 1});
  const RankPartition others = RankPartition::uniform(RankSet::range(2, 6));
  EXPECT_THAT([&] { (void)meet(halves, others); },
              ThrowsMessage<UsageError>(HasSubstr("ranks 0-3 and ranks 2-5")));
  EXPECT_THROW((void)meet(halves, RankPartition()), UsageError);
  EXPECT_THROW((void)refines(halves, others), UsageError);
  EXPECT_THAT([&] { (void)halves.cohort_of(4); },
              ThrowsMessage<UsageError>(HasSubstr("rank 4 is not among ranks 0-3")));
  EXPECT_THAT([&] { (void)halves.restrict_to(RankSet::first(6)); },
              ThrowsMessage<UsageError>(HasSubstr("ranks 4-5 are not among ranks 0-3")));
  EXPECT_THAT([&] { (void)halves.coarsen(Ranks{0}); },
              ThrowsMessage<UsageError>(HasSubstr("each of 2 cohorts, got 1")));
  EXPECT_THAT([&] { (void)RankPartition::from_labels(ranks, Ranks{0, 0}); },
              ThrowsMessage<UsageError>(HasSubstr("each of ranks 0-3, got 2")));
  const std::vector<RankSet> overlapping{RankSet::first(3), RankSet::range(2, 4)};
  EXPECT_THAT([&] { (void)RankPartition::from_cohorts(overlapping); },
              ThrowsMessage<UsageError>(HasSubstr("rank 2 is in two cohorts")));
  const std::vector<RankSet> with_empty{RankSet::first(3), RankSet()};
  EXPECT_THAT([&] { (void)RankPartition::from_cohorts(with_empty); },
              ThrowsMessage<UsageError>(HasSubstr("a cohort has no rank")));
}

TEST(RankPartition, TextAbbreviates) {
  EXPECT_EQ(RankPartition::from_labels(RankSet::first(5), Ranks{0, 1, 1, 0, 2}).to_string(),
            "{0,3} {1-2} {4}");
  EXPECT_EQ(RankPartition::identity(RankSet::first(512)).to_string(),
            "{0} {1} {2} {3} {4} {5} {6} {7} … (512 cohorts)");
  EXPECT_EQ(RankPartition().to_string(), "");
}

// Threads make the same partitions at one time, meet them, and let them go, over and over.
TEST(RankPartition, ThreadsInternAndMeetTheSame) {
  constexpr std::size_t kThreads = 8;
  const RankSet ranks = RankSet::first(96);
  std::vector<std::vector<RankPartition>> made(kThreads);
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&ranks, &kept = made[i]] {
        for (int round = 0; round < 20; ++round) {
          Random random(31);  // the same in each thread and round
          kept.clear();
          for (int pair = 0; pair < 12; ++pair) {
            const RankPartition a = random_partition(ranks, &random);
            const RankPartition b = random_partition(ranks, &random);
            kept.push_back(meet(a, b));
            EXPECT_TRUE(refines(kept.back(), a));
            EXPECT_EQ(kept.back().cohort(0).min(), 0);
          }
        }
      });
    }
  }
  for (const auto& partitions : made) {
    EXPECT_EQ(partitions, made.front());
  }
}

// Looking a partition up passes by others of the same hash, and may hold the last handle of one
// that another thread lets go at that moment: both go on, neither waits for itself.
TEST(RankPartition, ThreadsDropPartitionsOfOneHash) {
  const RankSet wide = RankSet::range(0, 33);
  const RankSet single = RankSet::range(1, 2);
  ASSERT_EQ(wide.hash(), single.hash());
  std::vector<std::jthread> threads;
  for (const RankSet& ranks : {wide, single, wide, single}) {
    threads.emplace_back([ranks] {
      for (int round = 0; round < 20000; ++round) {
        EXPECT_EQ(RankPartition::uniform(ranks).ranks(), ranks);
      }
    });
  }
}

}  // namespace
}  // namespace polyrank
