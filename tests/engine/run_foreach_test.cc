#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <operators.h>
#include <polyrank/engine/run_foreach.h>
#include <polyrank/engine/run_operator.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;

using Tensors = std::vector<at::Tensor>;

TEST(RunForeach, AWeightThatRanksShareStaysSharedBesideOneThatDiffers) {
  const Tensors weights{replicated({1, 2}, 4), local_tensor({{1}, {2}, {3}, {4}}),
                        replicated({5}, 4)};
  const Tensors added{replicated({1, 1}, 4), replicated({1}, 4), replicated({1}, 4)};
  const auto op = find_operator("aten::_foreach_add_", "List");
  auto stack = stack_of(weights, added, 1);
  reset_call_counts();
  run_foreach(op, OperatorInfo(op), nullptr, &stack);
  EXPECT_EQ(call_counts().cohort_calls, 5U);  // one for both that are shared, four for the other
  EXPECT_EQ(num_cohorts(weights[0]), 1U);
  EXPECT_EQ(num_cohorts(weights[2]), 1U);
  EXPECT_THAT(values_on_rank(weights[0], 3), ElementsAre(2, 3));
  EXPECT_THAT(values_on_rank(weights[1], 3), ElementsAre(5));
  EXPECT_THAT(values_on_rank(weights[2], 0), ElementsAre(6));
}

TEST(RunForeach, ResultsStandAtTheirPositions) {
  const Tensors lists{local_tensor({{1}, {2}}), replicated({3}, 2), local_tensor({{4}, {5}})};
  const auto op = find_operator("aten::_foreach_mul", "Scalar");
  auto stack = stack_of(lists, at::Scalar(10));
  run_foreach(op, OperatorInfo(op), nullptr, &stack);
  const Tensors results = stack[0].toTensorVector();
  ASSERT_EQ(results.size(), 3U);
  EXPECT_THAT(values_on_rank(results[0], 1), ElementsAre(20));
  EXPECT_THAT(values_on_rank(results[1], 1), ElementsAre(30));
  EXPECT_THAT(values_on_rank(results[2], 1), ElementsAre(50));
}

TEST(RunForeach, ArgumentsThatAreNoParallelListsGoToAll) {
  const Tensors lists{local_tensor({{1}, {2}}), replicated({3}, 2)};
  const auto op = find_operator("aten::_foreach_mul", "Tensor");
  auto stack = stack_of(lists, at::scalar_tensor(2.0F));
  run_foreach(op, OperatorInfo(op), nullptr, &stack);
  EXPECT_THAT(values_on_rank(stack[0].toTensorVector()[0], 1), ElementsAre(4));
  EXPECT_THAT(values_on_rank(stack[0].toTensorVector()[1], 1), ElementsAre(6));
}

}  // namespace
}  // namespace polyrank
