#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/run_operator.h>
#include <polyrank/exchange/rank_operand.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const RankSet kFour = RankSet::first(4);

RankPartition halves() {
  return RankPartition::from_labels(kFour, std::vector<std::int64_t>{0, 0, 1, 1});
}

void write(const at::Tensor& tensor, const RankResults& results) {
  const CohortKeysGuard keys(/*keep_python=*/false);
  RankOperand(tensor, kFour).write(results);
}

TEST(RankOperand, MergesCohortsOfATensorThatOwnsItsStorage) {
  const at::Tensor tensor = local_tensor({{0}, {1}, {2}, {3}});
  write(tensor, {.partition = halves(), .tensors = {at::tensor({8.0F}), at::tensor({9.0F})}});
  EXPECT_EQ(num_cohorts(tensor), 2U);
  EXPECT_THAT(values_on_rank(tensor, 1), ElementsAre(8));
  EXPECT_THAT(values_on_rank(tensor, 2), ElementsAre(9));
}

TEST(RankOperand, SplitsCohortsThatGetDifferentResults) {
  const at::Tensor tensor = replicated({5}, 4);
  const at::Tensor alias = tensor.view({1, 1});
  write(tensor, {.partition = halves(), .tensors = {at::tensor({8.0F}), at::tensor({9.0F})}});
  EXPECT_EQ(num_cohorts(tensor), 2U);
  EXPECT_THAT(values_on_rank(alias, 3), ElementsAre(9));
}

TEST(RankOperand, WritesThroughAViewSeenByTheWholeStorage) {
  const at::Tensor base = local_tensor({{0, 5}, {1, 5}, {2, 5}, {3, 5}});
  write(base.narrow(0, 0, 1),
        {.partition = RankPartition::uniform(kFour), .tensors = {at::tensor({7.0F})}});
  EXPECT_THAT(values_on_rank(base, 0), ElementsAre(7, 5));
  EXPECT_THAT(values_on_rank(base, 3), ElementsAre(7, 5));
}

TEST(RankOperand, LeavesOtherRanksAsTheyAre) {
  const at::Tensor tensor = local_tensor({{0}, {1}, {2}, {3}});
  const RankSet first_two = RankSet::first(2);
  write(tensor, {.partition = RankPartition::uniform(first_two), .tensors = {at::tensor({7.0F})}});
  EXPECT_EQ(num_cohorts(tensor), 3U);
  EXPECT_THAT(values_on_rank(tensor, 1), ElementsAre(7));
  EXPECT_THAT(values_on_rank(tensor, 2), ElementsAre(2));
}

TEST(RankOperand, DoesNotMergeARankThatWasHandedOut) {
  const at::Tensor tensor = local_tensor({{0}, {1}, {2}, {3}});
  const at::Tensor rank2 = take_rank(tensor, 2);
  write(tensor, {.partition = RankPartition::uniform(kFour), .tensors = {at::tensor({7.0F})}});
  EXPECT_THAT(values(rank2), ElementsAre(7));
  rank2.fill_(1);
  EXPECT_THAT(values_on_rank(tensor, 2), ElementsAre(1));
  EXPECT_THAT(values_on_rank(tensor, 3), ElementsAre(7));
}

TEST(RankOperand, OldMemoryServesOneCohortOnly) {
  const at::Tensor tensor = local_tensor({{0}, {1}, {2}, {3}});
  const at::Tensor root = on_rank(tensor, 1);
  const RankOperand operand(tensor, kFour);
  const at::Tensor& own = operand.on_rank(1);
  write(tensor, {.partition = halves(), .tensors = {own, own}, .are_new = false});
  EXPECT_EQ(num_cohorts(tensor), 2U);
  take_rank(tensor, 0).fill_(9);
  EXPECT_THAT(values_on_rank(tensor, 1), ElementsAre(1));
  EXPECT_THAT(values_on_rank(tensor, 3), ElementsAre(1));
}

TEST(RankOperand, APlainTensorIsWrittenOnceOrNotAtAll) {
  const at::Tensor plain = at::tensor({1.0F});
  write(plain, {.partition = RankPartition::uniform(kFour), .tensors = {at::tensor({7.0F})}});
  EXPECT_THAT(values(plain), ElementsAre(7));
  const RankResults differing{.partition = halves(),
                              .tensors = {at::tensor({8.0F}), at::tensor({9.0F})}};
  EXPECT_THAT([&] { write(plain, differing); },
              ThrowsMessage<DivergenceError>(HasSubstr("create it inside the mode")));
  const RankResults some{.partition = RankPartition::uniform(RankSet::first(2)),
                         .tensors = {at::tensor({8.0F})}};
  EXPECT_THAT([&] { write(plain, some); },
              ThrowsMessage<DivergenceError>(HasSubstr("differ between ranks")));
  EXPECT_THAT(values(plain), ElementsAre(7));
}

TEST(RankOperand, OfOtherRanksIsAnError) {
  EXPECT_THAT([] { RankOperand(replicated({1}, 2), kFour); },
              ThrowsMessage<UsageError>(HasSubstr("live on different ranks")));
}

TEST(LowestRanks, NameOneRankPerPairOfCohorts) {
  const RankPartition outer =
      RankPartition::from_labels(kFour, std::vector<std::int64_t>{0, 1, 1, 0});
  EXPECT_THAT(lowest_ranks(halves(), outer), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(lowest_ranks(halves(), halves()), ElementsAre(0, 2));
}

TEST(WithKeptRanks, CopiesWhatOtherRanksHold) {
  const at::Tensor tensor = local_tensor({{0}, {1}, {2}, {3}});
  const RankResults results{.partition = RankPartition::uniform(RankSet::first(2)),
                            .tensors = {at::tensor({7.0F})}};
  const RankResults all = with_kept_ranks(results, RankOperand(tensor, kFour), kFour);
  ASSERT_EQ(all.tensors.size(), 3U);
  EXPECT_THAT(values(all.on_rank(1)), ElementsAre(7));
  EXPECT_THAT(values(all.on_rank(3)), ElementsAre(3));
  EXPECT_NE(all.on_rank(3).const_data_ptr(), on_rank(tensor, 3).const_data_ptr());
}

}  // namespace
}  // namespace polyrank
