// Each function reaches its operator with its arguments in place; what the operators compute is
// tested in exchange_test.cc and against gloo in tests/python/collectives.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/collectives.h>
#include <world/local_tensors.h>

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
  all_reduce(x_, c10d::ReduceOp::MAX);
  EXPECT_THAT(values_on_rank(x_, 0), ElementsAre(10, 20));
  all_reduce(x_, c10d::makePreMulSum(0.5));
  EXPECT_THAT(values_on_rank(x_, 1), ElementsAre(10, 20));
  reduce(y, /*root=*/1);
  EXPECT_THAT(values_on_rank(y, 0), ElementsAre(1, 2));
  EXPECT_THAT(values_on_rank(y, 1), ElementsAre(11, 22));
}

TEST_F(CollectivesTest, ReduceScatter) {
  reduce_scatter_tensor(row_, x_);
  EXPECT_THAT(values_on_rank(row_, 1), ElementsAre(22));
  reduce_scatter(row_, {x_.narrow(0, 1, 1), x_.narrow(0, 0, 1)}, c10d::ReduceOp::PRODUCT);
  EXPECT_THAT(values_on_rank(row_, 0), ElementsAre(40));
}

TEST_F(CollectivesTest, Gather) {
  const at::Tensor all = at::zeros({4});
  all_gather_into_tensor(all, x_);
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
  all_to_all_single(uneven_, x_, {2 - rank * 2, 1}, {2 - rank, rank});
  EXPECT_THAT(values_on_rank(uneven_, 0), ElementsAre(1, 2, 10));
  EXPECT_THAT(values_on_rank(uneven_, 1), ElementsAre(20));
}

TEST_F(CollectivesTest, Messages) {
  const c10::SymInt peer = 1 - get_rank();
  const at::Tensor y = at::zeros({2});
  const auto work = irecv(y, peer);
  EXPECT_FALSE(work->isCompleted());
  send(x_, peer);
  EXPECT_TRUE(work->wait());
  EXPECT_THAT(values_on_rank(y, 0), ElementsAre(10, 20));
  EXPECT_THAT([&] { recv(y, peer, {}, /*tag=*/3); },
              ThrowsMessage<DeadlockError>(HasSubstr("tag=3")));
}

TEST_F(CollectivesTest, ABarrierIsCounted) {
  collective_record().reset();
  barrier();
  ASSERT_EQ(collective_record().totals().size(), 1U);
  EXPECT_EQ(collective_record().totals()[0].kind, CollectiveKind::kBarrier);
}

}  // namespace
}  // namespace polyrank
