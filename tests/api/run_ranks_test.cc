#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace polyrank {
namespace {

TEST(RunRanksTest, EachRankIsItsOwnAndTheWorldReduces) {
  std::vector<double> sums(8);
  run_ranks(8, [&](RankContext& context) {
    std::vector<at::Tensor> x{at::full({2}, static_cast<double>(context.rank()))};
    context.world().allreduce(x, {})->wait();
    sums[static_cast<std::size_t>(context.rank())] = x.front()[1].item<double>();
  });
  EXPECT_EQ(sums, std::vector<double>(8, 28.0));
}

TEST(RunRanksTest, GroupsAreMadeByTheirMembers) {
  std::vector<double> sums(4);
  run_ranks(4, [&](RankContext& context) {
    const bool is_low = context.rank() < 2;
    const auto group =
        is_low ? context.new_group("low", {0, 1}) : context.new_group("high", {3, 2});
    EXPECT_EQ(group->getRank(), is_low ? context.rank() : 3 - context.rank());
    std::vector<at::Tensor> x{at::full({1}, static_cast<double>(context.rank()))};
    group->allreduce(x, {})->wait();
    sums[static_cast<std::size_t>(context.rank())] = x.front().item<double>();
  });
  EXPECT_EQ(sums, (std::vector<double>{1, 1, 5, 5}));
}

TEST(RunRanksTest, TheFirstErrorIsThrown) {
  try {
    run_ranks(3, [](RankContext& context) {
      if (context.rank() == 1) {
        throw std::runtime_error("no data");
      }
      context.world().barrier({})->wait();
    });
    FAIL() << "no error";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "no data");
  }
}

TEST(RunRanksTest, EachRankDrawsItsOwnRandomNumbers) {
  std::vector<at::Tensor> drawn(2);
  run_ranks(2, [&](RankContext& context) {
    at::manual_seed(static_cast<std::uint64_t>(context.rank()));
    const at::Tensor first = at::rand({1});
    context.world().barrier({})->wait();
    drawn[static_cast<std::size_t>(context.rank())] = at::cat({first, at::rand({1})});
  });
  for (std::uint64_t rank = 0; rank < 2; ++rank) {
    at::manual_seed(rank);
    EXPECT_TRUE(drawn[rank].equal(at::cat({at::rand({1}), at::rand({1})})));
  }
}

TEST(RunRanksTest, ThereMustBeARank) {
  EXPECT_THROW(run_ranks(0, [](RankContext&) {}), UsageError);
}

}  // namespace
}  // namespace polyrank
