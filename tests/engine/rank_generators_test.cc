#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/engine/rank_generators.h>

#include <array>
#include <vector>

namespace polyrank {
namespace {

const RankSet kRanks = RankSet::first(4);
const RankPartition kHalves =
    RankPartition::from_labels(kRanks, std::array<std::int64_t, 4>{0, 0, 1, 1});

at::Generator seeded(std::uint64_t seed) { return at::detail::createCPUGenerator(seed); }

// What each rank's stream gives next, without drawing from it.
std::vector<float> next_of(const RankGenerators& streams, std::int64_t rank) {
  at::Generator copy = seeded(0);
  copy_generator_state(streams.generator(streams.partition().cohort_of(rank)), copy);
  return values(at::rand({3}, copy));
}

TEST(RankGenerators, AllBeginInOneStateWhichIsCopied) {
  at::Generator given = seeded(7);
  const RankGenerators streams(kRanks, given);
  EXPECT_TRUE(streams.partition().is_uniform());
  const std::vector<float> first = values(at::rand({3}, given));
  EXPECT_EQ(next_of(streams, 3), first);
}

TEST(RankGenerators, SeedsAreEachRanks) {
  RankGenerators streams(kRanks, seeded(7));
  streams.seed(kHalves, std::array<std::int64_t, 2>{1, 2});
  EXPECT_EQ(streams.partition(), kHalves);
  EXPECT_EQ(next_of(streams, 1), values(at::rand({3}, seeded(1))));
  EXPECT_EQ(next_of(streams, 2), values(at::rand({3}, seeded(2))));
  streams.seed(kHalves, std::array<std::int64_t, 2>{5, 5});
  EXPECT_EQ(next_of(streams, 0), next_of(streams, 3));
}

TEST(RankGenerators, RanksThatDrawAlikeStayOneCohort) {
  RankGenerators streams(kRanks, seeded(7));
  std::vector<at::Generator> drawn = streams.draw(kHalves);
  ASSERT_EQ(drawn.size(), 2U);
  EXPECT_EQ(values(at::rand({3}, drawn[0])), values(at::rand({3}, drawn[1])));
  streams.update(kHalves, drawn);
  EXPECT_TRUE(streams.partition().is_uniform());
}

TEST(RankGenerators, RanksThatDrawDifferentAmountsPart) {
  RankGenerators streams(kRanks, seeded(7));
  std::vector<at::Generator> drawn = streams.draw(kHalves);
  at::rand({3}, drawn[1]);
  streams.update(kHalves, drawn);
  EXPECT_EQ(streams.partition(), kHalves);
  EXPECT_EQ(next_of(streams, 0), values(at::rand({3}, seeded(7))));
  EXPECT_NE(next_of(streams, 2), next_of(streams, 0));
}

TEST(RankGenerators, StatesAreReadAndSetByRank) {
  RankGenerators streams(kRanks, seeded(7));
  streams.seed(kHalves, std::array<std::int64_t, 2>{1, 2});
  const std::vector<at::Tensor> states = streams.get_state();
  ASSERT_EQ(states.size(), 2U);
  RankGenerators other(kRanks, seeded(8));
  other.set_state(kHalves, states);
  for (std::int64_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(next_of(other, rank), next_of(streams, rank));
  }
}

}  // namespace
}  // namespace polyrank
