#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/shared_memory/arena.h>
#include <polyrank/world/processes/shared_fold.h>

#include <memory>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

constexpr std::int64_t kNumel = 700'001;

at::Tensor input_of(int member, c10::ScalarType dtype) {
  return at::arange(kNumel, at::kDouble).mul(member + 1).sin().mul(100).to(dtype);
}

std::shared_ptr<SharedCall> reduce_call(const at::Tensor& tensor, ReduceOp op) {
  CollectiveCall call;
  call.spec = find_collective("c10d::allreduce_");
  call.reduce_op = op;
  call.units = {{{tensor}, {tensor}}};
  return share_call(call, 0);
}

void check_fold(ReduceOp op, c10::ScalarType dtype) {
  std::vector<at::Tensor> inputs;
  std::vector<std::shared_ptr<SharedCall>> payloads;
  BoardList<SharedCall*> calls;
  for (int member = 0; member < 3; ++member) {
    inputs.push_back(input_of(member, dtype));
    payloads.push_back(reduce_call(inputs.back(), op));
    calls.push_back(payloads.back().get());
  }
  const auto fold = SharedFold::of(calls);
  ASSERT_NE(fold, nullptr);
  std::thread helper([&] { fold->help(); });
  fold->help();
  fold->await([] {});
  helper.join();
  EXPECT_EQ(fold->num_bytes(), inputs.front().nbytes());
  EXPECT_TRUE(tensor_of(calls[0]->units[0].inputs[0]).equal(fold_members(op, inputs)));
}

TEST(SharedFoldTest, IsTheFoldOfTheWholeBitForBit) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  for (const auto dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kInt}) {
    for (const auto op :
         {ReduceOp::kSum, ReduceOp::kAvg, ReduceOp::kProduct, ReduceOp::kMin, ReduceOp::kMax}) {
      check_fold(op, dtype);
    }
  }
}

TEST(SharedFoldTest, KnowsThePlacesOfItsPiecesInEveryOrder) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  for (const auto order : {ReductionOrder::kTree, ReductionOrder::kGloo, ReductionOrder::kNcclRing,
                           ReductionOrder::kNcclTree, ReductionOrder::kExact}) {
    const ReductionOrderGuard guard(order);
    check_fold(ReduceOp::kSum, at::kFloat);
  }
}

TEST(SharedFoldTest, LeavesTheRestToExchange) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const auto small = reduce_call(at::ones({4}), ReduceOp::kSum);
  EXPECT_EQ(SharedFold::of({small.get(), small.get()}), nullptr);
  const at::Tensor large = input_of(0, at::kDouble);
  const auto complex = reduce_call(at::complex(large, large), ReduceOp::kAvg);
  EXPECT_EQ(SharedFold::of({complex.get(), complex.get()}), nullptr);
}

TEST(SharedFoldTest, SaysWhatItCantDo) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const auto call = reduce_call(input_of(0, at::kFloat), ReduceOp::kBand);
  EXPECT_THROW(SharedFold::of({call.get(), call.get()}), CollectiveError);
}

}  // namespace
}  // namespace polyrank
