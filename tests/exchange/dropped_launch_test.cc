#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/dropped_launch.h>

#include <torch/csrc/distributed/c10d/Work.hpp>

namespace polyrank {
namespace {

constexpr std::int64_t kGroupSize = 2;

at::Tensor result_without(const char* op_name, const std::vector<c10::IValue>& arguments) {
  const CollectiveCall call = read_call(*find_collective(op_name), arguments);
  return values_without(call, arguments, kGroupSize).front().toTensor();
}

TEST(DroppedLaunch, LeavesWhatItWouldHaveWritten) {  // (1)
  const at::Tensor output = at::full({4}, 7.0);
  const at::Tensor input = at::ones({2});
  CollectiveCall call;
  call.spec = find_collective("c10d::_allgather_base_");
  call.units = {{{input}, {output}}};
  const auto values = values_without(call, std::vector<c10::IValue>{output, input}, kGroupSize);
  ASSERT_EQ(values.size(), 2U);
  EXPECT_TRUE(values[0].toTensor().is_same(output));
  EXPECT_TRUE(output.eq(7).all().item<bool>());
  const auto work = values[1].toCustomClass<c10d::Work>();
  EXPECT_TRUE(work->isCompleted());
  EXPECT_TRUE(work->result()[0].is_same(output));
}

TEST(DroppedLaunch, GivesACopyOfTheInputOfAFunctionalOperator) {  // (2)
  const at::Tensor x = at::arange(4.0);
  const at::Tensor y = result_without("_c10d_functional::all_reduce", {x, "sum", "g"});
  EXPECT_TRUE(at::equal(x, y));
  EXPECT_FALSE(y.is_alias_of(x));
}

TEST(DroppedLaunch, GivesZerosWhereTheShapeIsAnother) {  // (2)
  const at::Tensor x = at::ones({4, 6});
  const auto zeros = [](const at::Tensor& y, at::IntArrayRef sizes) {
    return y.sizes() == sizes && y.eq(0).all().item<bool>();
  };
  EXPECT_TRUE(zeros(
      result_without("_c10d_functional::all_gather_into_tensor", {x, kGroupSize, "g"}), {8, 6}));
  EXPECT_TRUE(
      zeros(result_without("_c10d_functional::reduce_scatter_tensor", {x, "sum", kGroupSize, "g"}),
            {2, 6}));
  EXPECT_TRUE(zeros(
      result_without("_c10d_functional::all_to_all_single",
                     {x, std::vector<std::int64_t>{1, 2}, std::vector<std::int64_t>{2, 2}, "g"}),
      {3, 6}));
  EXPECT_TRUE(zeros(result_without("_dtensor::shard_dim_alltoall", {x, 0, 1, "g"}), {8, 3}));
}

}  // namespace
}  // namespace polyrank
