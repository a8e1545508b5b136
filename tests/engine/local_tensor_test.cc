#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/engine/local_tensor_impl.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(LocalTensor, IsMadeOfTheTensorsThatItSharesMemoryWith) {
  const at::Tensor first = at::tensor({1.0F, 2.0F});
  const at::Tensor other = at::tensor({3.0F, 4.0F});
  const at::Tensor local = make_local_tensor({{4, first}, {0, other}, {2, first}});
  EXPECT_EQ(ranks_of(local), RankSet::of(std::vector<std::int64_t>{0, 2, 4}));
  EXPECT_EQ(num_cohorts(local), 2U);  // one object, one cohort
  first.add_(10);
  EXPECT_THAT(values_on_rank(local, 2), ElementsAre(11, 12));
  EXPECT_THAT(values_on_rank(local, 0), ElementsAre(3, 4));
}

TEST(LocalTensor, RefusesWhatIsNoTensorOfARank) {
  const at::Tensor x = at::ones({2});
  const auto refuses = [](const std::vector<std::pair<std::int64_t, at::Tensor>>& tensors,
                          const char* why) {
    EXPECT_THAT([&] { make_local_tensor(tensors); }, ThrowsMessage<UsageError>(HasSubstr(why)));
  };
  refuses({}, "at least one rank's tensor");
  refuses({{-1, x}}, "-1");
  refuses({{0, x}, {0, x}}, "0");
  refuses({{0, x}, {1, at::Tensor()}}, "rank 1 was given no tensor");
  refuses({{0, replicated({1}, 2)}}, "rank 0 was given a LocalTensor");
  refuses({{3, at::ones({2}).requires_grad_()}}, "rank 3 requires grad");
  refuses({{0, x}, {1, at::ones({2}, at::kDouble)}}, "rank 1 was given torch.float64");
  refuses({{0, x}, {1, at::ones({1, 2})}}, "with 2 dimensions");
}

TEST(LocalTensor, CohortsAreLookedAtWithoutBeingSplit) {
  const at::Tensor local = replicated({1, 2}, 1000);
  const std::vector<Cohort> all = cohorts(local);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].ranks, RankSet::first(1000));
  EXPECT_EQ(all[0].tensor.const_data_ptr(), on_rank(local, 999).const_data_ptr());
  EXPECT_THROW(on_rank(local, 7).add_(1), c10::Error);
  EXPECT_THAT(values_on_rank(local, 7), ElementsAre(1, 2));
  EXPECT_THAT([&] { on_rank(local, 1000); },
              ThrowsMessage<UsageError>(
                  AllOf(HasSubstr("does not live on rank 1000"), HasSubstr("0-999"))));
  EXPECT_THROW(cohorts(at::ones({1})), UsageError);
}

TEST(LocalTensor, WhatIsSeenOutlivesTheTensor) {
  at::Tensor seen;
  {
    const at::Tensor local = local_tensor({{1, 2}, {3, 4}});
    seen = on_rank(local, 1);
  }
  EXPECT_THAT(values(seen), ElementsAre(3, 4));
}

TEST(LocalTensor, ARankThatIsTakenIsWrittenAlone) {
  const at::Tensor local = replicated({1, 2}, 4);
  const at::Tensor view = local.view({2, 1});
  const at::Tensor own = take_rank(local, 2);
  own.add_(10);
  EXPECT_THAT(values_on_rank(local, 2), ElementsAre(11, 12));
  EXPECT_THAT(values_on_rank(view, 2), ElementsAre(11, 12));
  EXPECT_THAT(values_on_rank(local, 3), ElementsAre(1, 2));
  local.mul_(2);  // the outside alias does not go stale
  EXPECT_THAT(values(own), ElementsAre(22, 24));
}

TEST(LocalTensor, IsLentWhereAllRanksHaveOneMemory) {
  const at::Tensor local = replicated({1, 2}, 4);
  {
    const std::optional<at::Tensor> plain = lend(local);
    ASSERT_TRUE(plain.has_value());
    const at::Tensor part = plain->narrow(0, 1, 1);  // keeps the loan as the tensor does
    plain->add_(1);
    EXPECT_THAT(values_on_rank(local, 3), ElementsAre(2, 3));
    EXPECT_THROW(local.add_(local_tensor({{0, 0}, {0, 0}, {0, 0}, {1, 1}})), DivergenceError);
  }
  local.add_(local_tensor({{0, 0}, {0, 0}, {0, 0}, {1, 1}}));
  EXPECT_THAT(values_on_rank(local, 3), ElementsAre(3, 4));
  EXPECT_FALSE(lend(local).has_value());
  EXPECT_THROW(static_cast<void>(lend(at::ones({1}))), UsageError);
}

TEST(LocalTensor, ReconcilesWhereAllRanksHoldTheSame) {
  const at::Tensor alike = local_tensor({{1, 2}, {1, 2}});
  const at::Tensor plain = reconcile(alike);
  EXPECT_EQ(LocalTensorImpl::from(plain), nullptr);
  plain.add_(1);
  EXPECT_THAT(values_on_rank(alike, 0), ElementsAre(1, 2));
  EXPECT_THAT([&] { reconcile(local_tensor({{1}, {1}, {2}})); },
              ThrowsMessage<DivergenceError>(HasSubstr("ranks 0 differ from ranks 2")));
  EXPECT_THROW(reconcile(local_tensor({{1}, {1, 1}})), DivergenceError);
}

}  // namespace
}  // namespace polyrank
