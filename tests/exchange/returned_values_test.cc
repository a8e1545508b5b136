#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/collective_work.h>
#include <polyrank/exchange/returned_values.h>

namespace polyrank {
namespace {

std::vector<c10::IValue> returned(const char* op_name, const std::vector<c10::IValue>& arguments,
                                  std::vector<at::Tensor> results) {
  return returned_values(*find_collective(op_name), arguments, std::move(results),
                         CompletedWork::make({}));
}

TEST(ReturnedValues, AreTheTensorsWrittenAndTheWork) {
  const at::Tensor x = at::ones({2});
  const auto values = returned("c10d::allreduce_", {std::vector<at::Tensor>{x}, 0, 0}, {});
  ASSERT_EQ(values.size(), 2U);
  EXPECT_TRUE(values[0].toTensorVector()[0].is_same(x));
  EXPECT_TRUE(values[1].isCustomClass());
}

TEST(ReturnedValues, OfOutputsAreThese) {
  const at::Tensor output = at::zeros({4});
  const auto values = returned("c10d::_allgather_base_", {output, at::ones({2})}, {});
  EXPECT_TRUE(values[0].toTensor().is_same(output));
}

TEST(ReturnedValues, OfFunctionalOperatorsAreTheResultsPackedAsTheInputs) {
  const at::Tensor y = at::ones({2});
  const auto one = returned("_c10d_functional::all_reduce", {at::zeros({2}), "sum", "g"}, {y});
  ASSERT_EQ(one.size(), 1U);
  EXPECT_TRUE(one[0].toTensor().is_same(y));
  const auto several = returned("_c10d_functional::all_reduce_coalesced", {}, {y, y});
  EXPECT_EQ(several[0].toTensorVector().size(), 2U);
}

TEST(ReturnedValues, MayBeNone) {
  EXPECT_TRUE(returned("c10d::monitored_barrier_", {}, {}).empty());
}

}  // namespace
}  // namespace polyrank
