#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <operators.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/run_operator.h>

#include <array>
#include <memory>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// What the engine makes of a call, and how many calls of cohorts it took.
std::uint64_t calls_of(const c10::OperatorHandle& op, torch::jit::Stack* stack,
                       LockstepMode* mode = nullptr) {
  reset_call_counts();
  run_operator(op, OperatorInfo(op), mode, stack);
  return call_counts().cohort_calls;
}

TEST(RunOperator, CallsOncePerCohort) {
  const auto add = find_operator("aten::add", "Tensor");
  auto stack = stack_of(replicated({1, 2}, 1000), replicated({3, 4}, 1000), 1);
  EXPECT_EQ(calls_of(add, &stack), 1U);
  EXPECT_EQ(call_counts().rank_calls, 1000U);
  EXPECT_THAT(values_on_rank(stack[0].toTensor(), 999), ElementsAre(4, 6));
  stack = stack_of(local_tensor({{1}, {2}, {3}}), replicated({1}, 3), 1);
  EXPECT_EQ(calls_of(add, &stack), 3U);
  EXPECT_THAT(values_on_rank(stack[0].toTensor(), 2), ElementsAre(4));
}

TEST(RunOperator, AWriteThroughAViewPartsAllAliases) {
  const at::Tensor base = replicated({1, 2, 3}, 3);
  const at::Tensor view = base.narrow(0, 1, 2);
  auto stack = stack_of(view, local_tensor({{0, 0}, {10, 10}, {20, 20}}), 1);
  EXPECT_EQ(calls_of(find_operator("aten::add_", "Tensor"), &stack), 3U);
  EXPECT_TRUE(stack[0].toTensor().is_same(view));
  EXPECT_THAT(values_on_rank(base, 0), ElementsAre(1, 2, 3));
  EXPECT_THAT(values_on_rank(base, 2), ElementsAre(1, 22, 23));
}

TEST(RunOperator, WhatIsOverwrittenWithOneValueBecomesOneCohort) {
  const at::Tensor target = local_tensor({{1}, {2}, {3}});
  auto stack = stack_of(target);
  EXPECT_EQ(calls_of(find_operator("aten::zero_"), &stack), 1U);
  EXPECT_EQ(num_cohorts(target), 1U);
  EXPECT_THAT(values_on_rank(target, 2), ElementsAre(0));
}

TEST(RunOperator, APlainTensorIsWrittenAlikeOrNotAtAll) {
  const auto add = find_operator("aten::add_", "Tensor");
  const at::Tensor plain = at::ones({1});
  auto stack = stack_of(plain, replicated({4}, 3), 1);
  run_operator(add, OperatorInfo(add), nullptr, &stack);
  EXPECT_THAT(values(plain), ElementsAre(5));
  stack = stack_of(plain, local_tensor({{0}, {1}, {2}}), 1);
  EXPECT_THAT(
      [&] { run_operator(add, OperatorInfo(add), nullptr, &stack); },
      ThrowsMessage<DivergenceError>(HasSubstr("would be written with values that differ")));
  EXPECT_THAT(values(plain), ElementsAre(5));
}

TEST(RunOperator, OutputsTakeTheSizesOfTheirRanks) {
  const at::Tensor out = replicated({0}, 2);
  auto stack = stack_of(local_tensor({{1, 2}, {3}}), replicated({1}, 2), 1, out);
  run_operator(find_operator("aten::add", "out"), OperatorInfo(find_operator("aten::add", "out")),
               nullptr, &stack);
  EXPECT_THAT(values_on_rank(out, 0), ElementsAre(2, 3));
  EXPECT_THAT(values_on_rank(out, 1), ElementsAre(4));
}

TEST(RunOperator, AnErrorOfSomeRanksIsADivergence) {
  const auto view = find_operator("aten::view");
  auto stack = stack_of(local_tensor({{1, 2}, {3}}), std::vector<std::int64_t>{2});
  EXPECT_THAT([&] { run_operator(view, OperatorInfo(view), nullptr, &stack); },
              ThrowsMessage<DivergenceError>(HasSubstr("aten::view raises an error on rank 1")));
  stack = stack_of(local_tensor({{1, 2}, {3, 4}}), std::vector<std::int64_t>{3});
  EXPECT_THAT([&] { run_operator(view, OperatorInfo(view), nullptr, &stack); },
              ThrowsMessage<c10::Error>(HasSubstr("shape '[3]' is invalid")));
}

TEST(RunOperator, RanksDrawFromStreamsOfTheirOwn) {
  LockstepMode mode(RankSet::first(2));
  const std::array<std::int64_t, 2> seeds{1, 2};
  mode.generators(at::kCPU).seed(RankPartition::identity(RankSet::first(2)), seeds);
  const auto rand = find_operator("aten::rand");
  auto stack = stack_of(std::vector<std::int64_t>{3}, c10::IValue(), c10::IValue(), c10::IValue(),
                        c10::IValue());
  run_operator(rand, OperatorInfo(rand), &mode, &stack);
  const at::Tensor drawn = stack[0].toTensor();
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    at::Generator alone = at::detail::createCPUGenerator(static_cast<std::uint64_t>(rank) + 1);
    EXPECT_EQ(values_on_rank(drawn, rank), values(at::rand({3}, alone)));
  }
}

}  // namespace
}  // namespace polyrank
