#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/functional_collectives.h>
#include <polyrank/core/errors.h>
#include <polyrank/report/collective_record.h>
#include <torch/csrc/autograd/autograd.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class FunctionalCollectivesTest : public ::testing::Test {
 protected:
  // Before the world, where one rank's tensors are made.
  at::Tensor x_ = local_tensor({{1, 2}, {10, 20}});
  at::Tensor uneven_ = local_tensor({{1, 2, 3}, {4}});
  LockstepWorld world_{2};
};

TEST_F(FunctionalCollectivesTest, LeaveTheirInputs) {
  EXPECT_THAT(values_on_rank(functional::all_reduce(x_, {.op = c10d::ReduceOp::AVG}), 1),
              ElementsAre(5.5, 11));
  EXPECT_THAT(values_on_rank(functional::broadcast(x_, /*root=*/1), 0), ElementsAre(10, 20));
  EXPECT_THAT(values_on_rank(functional::all_gather_into_tensor(x_), 1), ElementsAre(1, 2, 10, 20));
  EXPECT_THAT(values_on_rank(functional::reduce_scatter_tensor(x_), 1), ElementsAre(22));
  EXPECT_THAT(values_on_rank(functional::all_to_all_single(x_), 1), ElementsAre(2, 20));
  EXPECT_THAT(values_on_rank(x_, 1), ElementsAre(10, 20));
}

TEST_F(FunctionalCollectivesTest, ShardAnotherDimension) {
  const at::Tensor rows = x_.view({1, 2});  // of a matrix {{1, 2}, {10, 20}}
  const at::Tensor columns = functional::shard_dim_alltoall(rows, /*gather_dim=*/0,
                                                            /*shard_dim=*/1);
  EXPECT_EQ(columns.sizes(), (c10::IntArrayRef{2, 1}));
  EXPECT_THAT(values_on_rank(columns, 1), ElementsAre(2, 20));
}

TEST_F(FunctionalCollectivesTest, CoalescedOnesAreOneLaunch) {
  collective_record().reset();
  const Tensors sums = functional::all_reduce_coalesced({x_, x_ * 2});
  EXPECT_THAT(values_on_rank(sums[1], 0), ElementsAre(22, 44));
  EXPECT_EQ(collective_record().totals()[0].num_launches, 1);
  EXPECT_THAT(values_on_rank(functional::all_gather_into_tensor_coalesced({x_, x_ * 2})[1], 0),
              ElementsAre(2, 4, 20, 40));
  EXPECT_THAT(values_on_rank(functional::reduce_scatter_tensor_coalesced({x_, x_ * 2})[1], 0),
              ElementsAre(22));
}

class GradientsTest : public FunctionalCollectivesTest {
 protected:
  // The gradient of x_ for the sum of what `collective` gives, times 1 on rank 0 and 10 on rank 1.
  std::vector<float> gradient_on_rank(std::int64_t rank, const at::Tensor& result) {
    x_.mutable_grad().reset();
    (result * (get_rank() * 9 + 1)).sum().backward();
    return values_on_rank(x_.grad(), rank);
  }
  void SetUp() override { x_.requires_grad_(); }
};

TEST_F(GradientsTest, AreCollectives) {
  EXPECT_THAT(gradient_on_rank(0, functional::all_reduce(x_)), ElementsAre(11, 11));
  const at::Tensor weight = at::arange(1.0, 5.0);
  EXPECT_THAT(gradient_on_rank(0, functional::all_gather_into_tensor(x_) * weight),
              ElementsAre(11, 22));
  EXPECT_THAT(gradient_on_rank(1, functional::all_gather_into_tensor(x_) * weight),
              ElementsAre(33, 44));
  EXPECT_THAT(gradient_on_rank(0, functional::reduce_scatter_tensor(x_)), ElementsAre(1, 10));
  EXPECT_THAT(gradient_on_rank(1, functional::all_to_all_single(x_)), ElementsAre(1, 10));
}

TEST_F(GradientsTest, FlowThroughGradients) {
  const at::Tensor squares = functional::all_gather_into_tensor(x_).square();
  const auto grads = torch::autograd::grad({squares.sum()}, {x_}, /*grad_outputs=*/{},
                                           /*retain_graph=*/true, /*create_graph=*/true);
  EXPECT_THAT(values_on_rank(grads[0].detach(), 0), ElementsAre(4, 8));  // 2x on both ranks
  grads[0].sum().backward();
  EXPECT_THAT(values_on_rank(x_.grad(), 1), ElementsAre(4, 4));
}

TEST_F(GradientsTest, OfOtherReductionsAreRefused) {
  for (const at::Tensor& result :
       {functional::all_reduce(x_, {.op = c10d::ReduceOp::MAX}),
        functional::reduce_scatter_tensor(x_, {.op = c10d::ReduceOp::AVG})}) {
    EXPECT_THAT([&] { result.sum().backward(); },
                ThrowsMessage<UnsupportedOpError>(HasSubstr("has no gradient; use SUM")));
  }
}

TEST_F(FunctionalCollectivesTest, SplitSizesAndTheirGradientsDifferBetweenRanks) {
  // Rank 0 sends two rows to rank 1 and keeps one; rank 1 sends its row to rank 0.
  uneven_.requires_grad_();
  const c10::SymInt rank = get_rank();
  const at::Tensor received =
      functional::all_to_all_single(uneven_, {.output_split_sizes = {1 + rank, 1 - rank},
                                              .input_split_sizes = {c10::SymInt(1), 2 - rank * 2}});
  EXPECT_THAT(values_on_rank(received, 0), ElementsAre(1, 4));
  EXPECT_THAT(values_on_rank(received, 1), ElementsAre(2, 3));
  (received * (rank + 1)).sum().backward();
  EXPECT_THAT(values_on_rank(uneven_.grad(), 0), ElementsAre(1, 2, 2));
  EXPECT_THAT(values_on_rank(uneven_.grad(), 1), ElementsAre(1));
}

TEST_F(FunctionalCollectivesTest, PremulSumHasNoPlaceForItsFactor) {
  EXPECT_THAT([&] { functional::all_reduce(x_, {.op = c10d::makePreMulSum(2.0)}); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("without the factor")));
}

}  // namespace
}  // namespace polyrank
