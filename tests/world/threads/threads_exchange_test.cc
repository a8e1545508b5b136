#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/threads/threads_exchange.h>
#include <world/meetings.h>

#include <memory>
#include <vector>

namespace polyrank {
namespace {

using Tensors = std::vector<at::Tensor>;

void carry_out_calls(const std::vector<CollectiveCall>& calls) {
  carry_out(*meeting_of(calls, [](const CollectiveCall& call, std::int64_t) {
    return std::make_shared<RankCall>(RankCall{call});
  }));
}

TEST(ThreadsExchangeTest, OnlyTheRootOfAReduceIsWritten) {
  const at::Tensor x = at::full({1}, 1.0);
  const at::Tensor y = at::full({1}, 2.0);
  std::vector<CollectiveCall> calls = {call_of("c10d::reduce_", {x}, {x}),
                                       call_of("c10d::reduce_", {y}, {y})};
  calls[0].root = calls[1].root = 1;
  carry_out_calls(calls);
  EXPECT_EQ(x.item<double>(), 1);
  EXPECT_EQ(y.item<double>(), 3);
}

TEST(ThreadsExchangeTest, ScatterTakesTheRootsList) {
  const at::Tensor x = at::zeros({1});
  const at::Tensor y = at::zeros({1});
  carry_out_calls({call_of("c10d::scatter_", {at::full({1}, 5.0), at::full({1}, 6.0)}, {x}),
                   call_of("c10d::scatter_", {}, {y})});
  EXPECT_EQ(x.item<double>(), 5);
  EXPECT_EQ(y.item<double>(), 6);
}

TEST(ThreadsExchangeTest, ListsMayLieOnEachOther) {
  // All-to-all in place: each output is another rank's input.
  const at::Tensor a = at::arange(4, at::kFloat);
  const at::Tensor b = at::arange(4, 8, at::kFloat);
  const auto halves = [](const at::Tensor& tensor) {
    return Tensors{tensor.narrow(0, 0, 2), tensor.narrow(0, 2, 2)};
  };
  carry_out_calls({call_of("c10d::alltoall_", halves(a), halves(a)),
                   call_of("c10d::alltoall_", halves(b), halves(b))});
  EXPECT_TRUE(a.equal(at::tensor({0, 1, 4, 5}, at::kFloat)));
  EXPECT_TRUE(b.equal(at::tensor({2, 3, 6, 7}, at::kFloat)));
}

TEST(ThreadsExchangeTest, AFactorScalesItsRanksValues) {
  const at::Tensor x = at::ones({1});
  const at::Tensor y = at::ones({1});
  std::vector<CollectiveCall> calls = {call_of("c10d::allreduce_", {x}, {x}),
                                       call_of("c10d::allreduce_", {y}, {y})};
  for (std::size_t rank = 0; rank < 2; ++rank) {
    calls[rank].reduce_op = ReduceOp::kPremulSum;
    calls[rank].premul_factor = at::full({1}, 0.5 + static_cast<double>(rank));
  }
  carry_out_calls(calls);
  EXPECT_EQ(x.item<double>(), 2);
}

TEST(ThreadsExchangeTest, TensorsThatNeedGradientsAreWritten) {
  const at::Tensor x = at::ones({1}).requires_grad_();
  const at::Tensor y = at::ones({1}).requires_grad_();
  carry_out_calls({call_of("c10d::allreduce_", {x}, {x}), call_of("c10d::allreduce_", {y}, {y})});
  EXPECT_EQ(x.item<double>(), 2);
  EXPECT_TRUE(x.is_leaf());
}

}  // namespace
}  // namespace polyrank
