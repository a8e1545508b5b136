#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/api/rank_functions.h>
#include <polyrank/core/errors.h>

#include <optional>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

at::Tensor filled(std::int64_t rank) { return at::full({2}, static_cast<double>(rank)); }

TEST(RankFunctions, RankMapCallsOncePerRank) {
  const LockstepWorld world(3);
  const at::Tensor x = rank_map(&filled);
  EXPECT_THAT(values_on_rank(x, 2), ElementsAre(2, 2));
  EXPECT_EQ(ranks_of(at::ones({1})), RankSet::first(3));  // the world is on again
}

TEST(RankFunctions, TensorMapCopiesWhatItReturnsAndDropsRanks) {
  const LockstepWorld world(3);
  const at::Tensor x = rank_map(&filled);
  const at::Tensor y = tensor_map(x, [](std::int64_t rank, const at::Tensor& own) {
    return rank == 1 ? std::nullopt : std::optional(own.narrow(0, 0, 1));
  });
  y.add_(10);
  EXPECT_EQ(ranks_of(y).to_string(), "0,2");
  EXPECT_THAT(values_on_rank(y, 2), ElementsAre(12));
  EXPECT_THAT(values_on_rank(x, 2), ElementsAre(2, 2));
}

TEST(RankFunctions, OneRanksTensorsAreMadeInADisabledWorld) {
  const LockstepWorld world(2);
  {
    const DisableLockstepGuard one_rank;
    EXPECT_EQ(ranks_of(rank_map(&filled)), RankSet::first(2));  // disables once more
    const at::Tensor plain = at::ones({1});
    EXPECT_THAT([&] { ranks_of(plain); }, ThrowsMessage<UsageError>(HasSubstr("LocalTensor")));
  }
  EXPECT_EQ(ranks_of(at::ones({1})), RankSet::first(2));
}

TEST(RankFunctions, NeedAWorld) {
  EXPECT_THAT([] { const DisableLockstepGuard guard; },
              ThrowsMessage<UsageError>(HasSubstr("runs no ranks")));
  EXPECT_THAT([] { rank_map(&filled); }, ThrowsMessage<UsageError>(HasSubstr("runs no ranks")));
}

}  // namespace
}  // namespace polyrank
