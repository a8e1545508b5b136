#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/rank_random.h>

#include <array>

namespace polyrank {
namespace {

const RankSet kRanks = RankSet::first(2);
const RankPartition kEach = RankPartition::identity(kRanks);

class RankRandomTest : public ::testing::Test {
 protected:
  std::vector<float> next_of(std::int64_t rank) {
    const RankGenerators& streams = mode_.generators(at::kCPU);
    at::Generator copy = at::detail::createCPUGenerator(0);
    copy_generator_state(streams.generator(streams.partition().cohort_of(rank)), copy);
    return values(at::rand({2}, copy));
  }

  LockstepMode mode_{kRanks};
};

TEST_F(RankRandomTest, ASeedMayDifferBetweenRanks) {
  seed_ranks(mode_, make_local_int(kEach, std::array<std::int64_t, 2>{3, 4}));
  EXPECT_EQ(next_of(1), values(at::rand({2}, at::detail::createCPUGenerator(4))));
  const c10::SymInt seeds = initial_seeds(mode_);
  ASSERT_NE(as_local_int(seeds), nullptr);
  EXPECT_EQ(as_local_int(seeds)->value(0), 3);
  seed_ranks_on(mode_, at::kCPU, 9);
  EXPECT_EQ(initial_seeds(mode_).expect_int(), 9);
}

TEST_F(RankRandomTest, ASeedOfOtherRanksIsRefused) {
  const auto other = RankPartition::identity(RankSet::first(3));
  EXPECT_THROW(seed_ranks(mode_, make_local_int(other, std::array<std::int64_t, 3>{1, 2, 3})),
               UsageError);
}

TEST_F(RankRandomTest, StatesAreLocalTensorsOfBytes) {
  seed_ranks(mode_, make_local_int(kEach, std::array<std::int64_t, 2>{3, 4}));
  const at::Tensor state = rank_rng_state(mode_, at::kCPU);
  EXPECT_EQ(num_cohorts(state), 2U);
  const std::vector<float> before = next_of(1);
  seed_ranks(mode_, 11);
  EXPECT_NE(next_of(1), before);
  set_rank_rng_state(mode_, at::kCPU, state);
  EXPECT_EQ(next_of(1), before);
  set_rank_rng_state(mode_, at::kCPU, at::detail::createCPUGenerator(5).get_state());
  EXPECT_EQ(next_of(0), next_of(1));
  EXPECT_THROW(set_rank_rng_state(mode_, at::kCPU, replicated({1}, 3).to(at::kByte)), UsageError);
}

}  // namespace
}  // namespace polyrank
