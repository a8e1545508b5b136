#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <operators.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/collective_call.h>

#include <string>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

using Tensors = std::vector<at::Tensor>;

CollectiveCall read(const char* op_name, const torch::jit::Stack& arguments) {
  return read_call(*find_collective(op_name), arguments);
}

TEST(CollectiveCall, OfAFunctionalCollective) {
  const at::Tensor x = at::ones({2});
  const CollectiveCall call = read("_c10d_functional::all_reduce", stack_of(x, "max", "tp"));
  EXPECT_EQ(call.group_name, "tp");
  EXPECT_EQ(call.reduce_op, ReduceOp::kMax);
  EXPECT_EQ(call.process_group_size, -1);
  ASSERT_EQ(call.units.size(), 1U);
  EXPECT_TRUE(call.units[0].inputs[0].is_same(x));
  EXPECT_THAT(call.written(), IsEmpty());
  EXPECT_EQ(call.tensors().size(), 1U);
}

TEST(CollectiveCall, StatesItsGroupsSize) {
  const CollectiveCall call = read("_c10d_functional::all_gather_into_tensor",
                                   stack_of(at::ones({2}), std::int64_t{4}, "dp"));
  EXPECT_EQ(call.stated_group_size, 4);
  EXPECT_EQ(call.group_name, "dp");
}

TEST(CollectiveCall, OfACoalescedLaunchHasAUnitForEach) {
  const CollectiveCall call = read("_c10d_functional::all_reduce_coalesced_",
                                   stack_of(Tensors{at::ones({2}), at::ones({3})}, "sum", "world"));
  ASSERT_EQ(call.units.size(), 2U);
  EXPECT_EQ(call.units[1].inputs[0].numel(), 3);
  EXPECT_EQ(call.written().size(), 2U);  // in place
}

TEST(CollectiveCall, HasTheSplitSizesOfItsRank) {
  const auto arguments = stack_of(at::ones({4}), std::vector<std::int64_t>{1, 3},
                                  std::vector<std::int64_t>{2, 2}, "ep");
  const CollectiveCall call = read("_c10d_functional::all_to_all_single", arguments);
  ASSERT_EQ(call.output_split_sizes.size(), 2U);
  EXPECT_EQ(call.output_split_sizes[1].expect_int(), 3);
  EXPECT_EQ(call.input_split_sizes[0].expect_int(), 2);
}

TEST(CollectiveCall, TakesWhatRanksWereGivenOnce) {
  const auto arguments = stack_of(at::ones({2}), std::int64_t{0}, "world");
  {
    const RankDependentArgumentsGuard guard({.root = c10::SymInt(1), .only_rank = 3});
    const CollectiveCall given = read("_c10d_functional::broadcast", arguments);
    EXPECT_EQ(given.root, 1);
    EXPECT_EQ(given.only_rank, 3);
    EXPECT_EQ(read("_c10d_functional::broadcast", arguments).root, 0);
  }
  const RankDependentArgumentsGuard unused({.only_rank = 2});
  EXPECT_TRUE(next_rank_dependent_arguments().has_value());
}

TEST(CollectiveCall, KnowsWhetherTheProgramWaits) {
  const CollectiveSpec& functional = *find_collective("_c10d_functional::all_reduce");
  EXPECT_EQ(is_asynchronous(functional, stack_of(at::ones({1}), "sum", "w")),
            functional.returns != Returns::kNothing);
}

TEST(CollectiveCall, RefusesReduceOpsThatAreNone) {
  EXPECT_THROW(read("_c10d_functional::all_reduce", stack_of(at::ones({1}), "mean?", "w")),
               UsageError);
}

TEST(CollectiveCall, RefusesAGroupOfNoKnownType) {
  EXPECT_THAT(
      [] { read("_c10d_functional::all_reduce", stack_of(at::ones({1}), "sum", std::int64_t{3})); },
      ThrowsMessage<UnsupportedOpError>(HasSubstr("was given a group of type Int")));
}

}  // namespace
}  // namespace polyrank
