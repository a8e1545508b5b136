// Each function reaches its operator with its arguments in place; what the operators compute is
// tested in exchange_test.cc and against gloo in tests/python/collectives.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/collectives.h>
#include <polyrank/core/errors.h>
#include <polyrank/report/collective_record.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class CollectivesTest : public ::testing::Test {
 protected:
  // First, since one rank's tensors can't be made in a world.
  at::Tensor x_ = local_tensor({{1, 2}, {10, 20}});
  at::Tensor row_ = local_tensor({{0}, {0}});
  at::Tensor uneven_ = local_tensor({{0, 0, 0}, {0}});
  LockstepWorld world_{2};
};

TEST_F(CollectivesTest, Reduce) {
  const at::Tensor y = x_.clone();
  all_reduce(x_, {.op = c10d::ReduceOp::MAX});
  EXPECT_THAT(values_on_rank(x_, 0), ElementsAre(10, 20));
  all_reduce(x_, {.op = c10d::makePreMulSum(0.5)});
  EXPECT_THAT(values_on_rank(x_, 1), ElementsAre(10, 20));
  reduce(y, /*root=*/1);
  EXPECT_THAT(values_on_rank(y, 0), ElementsAre(1, 2));
  EXPECT_THAT(values_on_rank(y, 1), ElementsAre(11, 22));
}

TEST_F(CollectivesTest, ReduceScatter) {
  reduce_scatter_single(row_, x_);
  EXPECT_THAT(values_on_rank(row_, 1), ElementsAre(22));
  reduce_scatter(row_, {x_.narrow(0, 1, 1), x_.narrow(0, 0, 1)}, {.op = c10d::ReduceOp::PRODUCT});
  EXPECT_THAT(values_on_rank(row_, 0), ElementsAre(40));
}

TEST_F(CollectivesTest, Gather) {
  const at::Tensor all = at::zeros({4});
  all_gather_single(all, x_);
  EXPECT_THAT(values_on_rank(all, 1), ElementsAre(1, 2, 10, 20));
  const Tensors list{at::zeros({2}), at::zeros({2})};
  all_gather(list, x_);
  EXPECT_THAT(values_on_rank(list[1], 0), ElementsAre(10, 20));
  const Tensors on_root{at::zeros({2}), at::zeros({2})};
  gather(x_, on_root, /*root=*/1);
  EXPECT_THAT(values_on_rank(on_root[0], 1), ElementsAre(1, 2));
  EXPECT_THAT(values_on_rank(on_root[0], 0), ElementsAre(0, 0));
}

TEST_F(CollectivesTest, FromARoot) {
  scatter(row_, {x_.narrow(0, 0, 1), x_.narrow(0, 1, 1)}, /*root=*/1);
  EXPECT_THAT(values_on_rank(row_, 0), ElementsAre(10));
  broadcast(row_, /*root=*/1);
  EXPECT_THAT(values_on_rank(row_, 0), ElementsAre(20));
}

TEST_F(CollectivesTest, AllToAll) {
  const at::Tensor swapped = at::zeros({2});
  all_to_all_single(swapped, x_);
  EXPECT_THAT(values_on_rank(swapped, 0), ElementsAre(1, 10));
  const Tensors list{at::zeros({1}), at::zeros({1})};
  all_to_all(list, {x_.narrow(0, 0, 1), x_.narrow(0, 1, 1)});
  EXPECT_THAT(values_on_rank(list[0], 1), ElementsAre(2));
}

TEST_F(CollectivesTest, SplitSizesDifferBetweenRanks) {
  // Rank 0 keeps its two rows and gets one; rank 1 keeps one.
  const c10::SymInt rank = get_rank();
  all_to_all_single(
      uneven_, x_,
      {.output_split_sizes = {2 - rank * 2, 1}, .input_split_sizes = {2 - rank, rank}});
  EXPECT_THAT(values_on_rank(uneven_, 0), ElementsAre(1, 2, 10));
  EXPECT_THAT(values_on_rank(uneven_, 1), ElementsAre(20));
}

TEST_F(CollectivesTest, ListsHoldTensorsOfDifferentSizes) {
  // Rank 0 has three rows and rank 1 one.
  const Tensors gathered{at::zeros({3}), at::zeros({1})};
  all_gather(gathered, uneven_ + 7);
  EXPECT_THAT(values_on_rank(gathered[0], 1), ElementsAre(7, 7, 7));
  EXPECT_THAT(values_on_rank(gathered[1], 0), ElementsAre(7));
  reduce_scatter(uneven_, {at::full({3}, 2.0), at::full({1}, 5.0)});
  EXPECT_THAT(values_on_rank(uneven_, 0), ElementsAre(4, 4, 4));
  EXPECT_THAT(values_on_rank(uneven_, 1), ElementsAre(10));
}

TEST_F(CollectivesTest, WhatARootGathersOrScattersIsOfOneSize) {
  const Tensors on_root{at::zeros({3}), at::zeros({1})};
  EXPECT_THAT(
      [&] { gather(uneven_, on_root, /*root=*/0); },
      ThrowsMessage<CollectiveMismatchError>(HasSubstr("rank 1: gather(root 0) float32[1]")));
  EXPECT_THAT([&] { scatter(uneven_, on_root, /*root=*/0); },
              ThrowsMessage<CollectiveMismatchError>(HasSubstr("ranks disagree")));
}

TEST_F(CollectivesTest, FactorsOfPremulSumMayDifferBetweenRanks) {
  const at::Tensor factor = at::full({1}, 0.5) + get_rank() * 1.5;
  all_reduce(x_, {.op = c10d::makePreMulSum(factor)});
  EXPECT_THAT(values_on_rank(x_, 0), ElementsAre(20.5, 41));
}

TEST_F(CollectivesTest, CoalescedOnesAreOneLaunch) {
  const Tensors reduced{x_.clone(), x_ * 2};
  collective_record().reset();
  all_reduce_coalesced(reduced, {.op = c10d::ReduceOp::MAX});
  EXPECT_THAT(values_on_rank(reduced[1], 0), ElementsAre(20, 40));
  EXPECT_EQ(collective_record().totals()[0].num_launches, 1);
  const std::vector<Tensors> lists{{at::zeros({2}), at::zeros({1})},
                                   {at::zeros({2}), at::zeros({1})}};
  all_gather_coalesced(lists, {x_, row_ + 3});
  EXPECT_THAT(values_on_rank(lists[1][0], 0), ElementsAre(10, 20));
  EXPECT_THAT(values_on_rank(lists[0][1], 1), ElementsAre(3));
  const Tensors joined{at::zeros({4}), at::zeros({2})};
  all_gather_single_coalesced(joined, {x_, row_ + 3});
  EXPECT_THAT(values_on_rank(joined[0], 1), ElementsAre(1, 2, 10, 20));
  EXPECT_THAT(values_on_rank(joined[1], 1), ElementsAre(3, 3));
  const Tensors pieces{at::zeros({1}), at::zeros({2})};
  reduce_scatter_single_coalesced(pieces, {x_, joined[0]}, {.op = c10d::ReduceOp::AVG});
  EXPECT_THAT(values_on_rank(pieces[0], 1), ElementsAre(11));
  EXPECT_THAT(values_on_rank(pieces[1], 1), ElementsAre(10, 20));
}

TEST_F(CollectivesTest, LaunchesGiveAWorkWithItsFutures) {
  const Tensors list{at::zeros({1}), at::zeros({1})};
  for (const Work& work :
       {all_reduce(x_.clone()), reduce(x_.clone(), /*root=*/0), broadcast(x_.clone(), /*root=*/0),
        all_gather_single(at::zeros({4}), x_), reduce_scatter_single(at::zeros({1}), x_),
        gather(at::ones({1}), list, /*root=*/0), scatter(at::ones({1}), list, /*root=*/0),
        all_to_all(list, list), all_to_all_single(at::zeros({2}), x_), barrier(),
        all_reduce_coalesced(list)}) {
    EXPECT_TRUE(work->isCompleted() && work->isSuccess() && work->wait());
  }
  const Work work = all_reduce(x_);
  const auto halved = work->getFuture()->then(
      [](c10::ivalue::Future& future) {
        return c10::IValue(future.value().toTensorVector().front() / 2);
      },
      c10::TensorType::get());
  EXPECT_THAT(values_on_rank(halved->value().toTensor(), 1), ElementsAre(5.5, 11));
}

TEST_F(CollectivesTest, ErrorsNameGroupAndSizes) {
  EXPECT_THAT([&] { all_gather_single(at::zeros({3}), x_); },
              ThrowsMessage<CollectiveError>(HasSubstr("Allocate the output with that size")));
  EXPECT_THAT([&] { all_gather({at::zeros({2})}, x_); },
              ThrowsMessage<CollectiveError>(HasSubstr("a list of 1 output tensors")));
  EXPECT_THAT(
      [&] { broadcast(x_, /*root=*/2); },
      ThrowsMessage<CollectiveError>(HasSubstr("the group has no group rank 2; valid: 0..1")));
  EXPECT_THAT([&] { all_reduce(x_, {.op = c10d::ReduceOp::BAND}); },
              ThrowsMessage<CollectiveError>(HasSubstr("works on the bits of integers")));
}

TEST_F(CollectivesTest, BarriersAreCounted) {
  collective_record().reset();
  barrier();
  monitored_barrier();
  ASSERT_EQ(collective_record().totals().size(), 2U);
  EXPECT_EQ(collective_record().totals()[0].kind, CollectiveKind::kBarrier);
  EXPECT_EQ(collective_record().totals()[0].num_launches, 1);
  EXPECT_EQ(collective_record().totals()[1].kind, CollectiveKind::kMonitoredBarrier);
  EXPECT_EQ(collective_record().totals()[1].num_launches, 1);
}

}  // namespace
}  // namespace polyrank
