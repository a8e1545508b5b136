#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/exchange.h>
#include <polyrank/world/fake/fake_exchange.h>

#include <numeric>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

using Tensors = std::vector<at::Tensor>;

CollectiveCall call_of(const char* op_name, CollectiveUnit unit) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  call.units = {std::move(unit)};
  return call;
}

// What exchange() gives `group_rank` if all members put in `inputs`.
Tensors of_equal_members(const CollectiveCall& call, const Tensors& inputs, std::size_t group_rank,
                         std::size_t group_size) {
  MemberInputs members;
  members.group_label = "dp";
  std::vector<std::int64_t> ranks(group_size);
  std::iota(ranks.begin(), ranks.end(), 0);
  members.members = ranks;
  for (const at::Tensor& input : inputs) {
    members.tensors.emplace_back().append(input, group_size);
  }
  Tensors got;
  const MemberOutputs outputs = exchange(call, members);
  for (const Tensors& by_member : outputs.tensors) {
    got.push_back(outputs.same_on_members ? by_member.front() : by_member[group_rank]);
  }
  return got;
}

// A rank of the fake world gets what a rank among equal ones gets.
void check_mirror(const char* op_name, const Tensors& inputs, const Tensors& outputs,
                  ReduceOp op = ReduceOp::kSum) {
  constexpr std::int64_t kGroupSize = 4;
  for (std::int64_t rank = 0; rank < kGroupSize; ++rank) {
    Tensors written;
    for (const at::Tensor& output : outputs) {
      written.push_back(at::full_like(output, 77));
    }
    CollectiveCall call = call_of(op_name, {inputs, written});
    call.reduce_op = op;
    EXPECT_THAT(mirror(call, rank, kGroupSize), IsEmpty());
    const Tensors expected = of_equal_members(call, inputs, static_cast<std::size_t>(rank), 4);
    ASSERT_EQ(expected.size(), written.size()) << op_name;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(at::equal(written[i].flatten(), expected[i].flatten())) << op_name << rank;
    }
  }
}

TEST(FakeExchange, MirrorGivesWhatARankAmongEqualOnesGets) {
  const at::Tensor x = at::arange(8, at::kFloat).view({4, 2}) - 3;
  const Tensors list = {x, x + 1, x * 2, x - 5};
  check_mirror("c10d::_allgather_base_", {x}, {at::empty({16, 2})});
  check_mirror("c10d::allgather_", {x}, {x, x, x, x});
  check_mirror("c10d::alltoall_", list, list);
  check_mirror("c10d::alltoall_base_", {x}, {x});
  for (const ReduceOp op :
       {ReduceOp::kSum, ReduceOp::kAvg, ReduceOp::kProduct, ReduceOp::kMin, ReduceOp::kMax}) {
    check_mirror("c10d::_reduce_scatter_base_", {x}, {at::empty({1, 2})}, op);
    check_mirror("c10d::reduce_scatter_", list, {x}, op);
    check_mirror("c10d::allreduce_", {x}, {x}, op);
  }
}

TEST(FakeExchange, UnevenPiecesAreThisRanksOwn) {
  CollectiveCall call =
      call_of("c10d::alltoall_base_", {{at::arange(6, at::kFloat)}, {at::zeros({9})}});
  call.input_split_sizes = {1, 3, 2};
  call.output_split_sizes = {3, 3, 3};
  EXPECT_THAT(mirror(call, 1, 3), IsEmpty());
  EXPECT_EQ(values(call.units[0].outputs[0]), (std::vector<float>{1, 2, 3, 1, 2, 3, 1, 2, 3}));
}

TEST(FakeExchange, PlacesThatDoNotFitAreFilledAndTold) {
  CollectiveCall call =
      call_of("c10d::alltoall_base_", {{at::arange(3, at::kFloat)}, {at::full({6}, 77.0F)}});
  call.input_split_sizes = {1, 2};
  call.output_split_sizes = {5, 1};
  EXPECT_THAT(mirror(call, 1, 2), HasSubstr("each peer sends 2"));
  EXPECT_EQ(values(call.units[0].outputs[0]), (std::vector<float>{1, 2, 1, 2, 1, 1}));
  call.input_split_sizes = {3, 0};
  EXPECT_THAT(mirror(call, 1, 2), HasSubstr("each peer sends 0"));
  EXPECT_EQ(values(call.units[0].outputs[0]), (std::vector<float>{0, 1, 2, 0, 1, 0}));
}

TEST(FakeExchange, WhatAnotherRootScattersIsZerosAndTold) {
  CollectiveCall call = call_of("c10d::scatter_", {{}, {at::full({2}, 77.0F)}});
  call.root = 1;
  EXPECT_THAT(mirror(call, 0, 2), HasSubstr("what group rank 1 scatters"));
  EXPECT_EQ(values(call.units[0].outputs[0]), (std::vector<float>{0, 0}));
}

TEST(FakeExchange, OnlyTheRootReducesAndGathers) {
  CollectiveCall reduce = call_of("c10d::reduce_", {{at::ones({2})}, {}});
  reduce.units[0].outputs = reduce.units[0].inputs;
  reduce.root = 1;
  mirror(reduce, 0, 3);
  EXPECT_EQ(values(reduce.units[0].outputs[0]), (std::vector<float>{1, 1}));
  mirror(reduce, 1, 3);
  EXPECT_EQ(values(reduce.units[0].outputs[0]), (std::vector<float>{3, 3}));
}

TEST(FakeExchange, PremulSumScalesFirst) {
  CollectiveCall call = call_of("c10d::allreduce_", {{at::full({1}, 2.0F)}, {}});
  call.units[0].outputs = call.units[0].inputs;
  call.reduce_op = ReduceOp::kPremulSum;
  call.premul_factor = at::scalar_tensor(0.5);
  mirror(call, 0, 3);
  EXPECT_EQ(values(call.units[0].outputs[0]), (std::vector<float>{3}));
}

TEST(FakeExchange, ListsThatAreTooShortAreErrorsWithoutTheChecksToo) {
  const at::Tensor x = at::ones({2});
  EXPECT_THAT([&] { mirror(call_of("c10d::reduce_scatter_", {{x}, {x}}), 3, 4); },
              ThrowsMessage<CollectiveError>(HasSubstr("none for group rank 3")));
  CollectiveCall call = call_of("c10d::alltoall_base_", {{x}, {x}});
  call.input_split_sizes = {2};
  EXPECT_THAT([&] { mirror(call, 3, 4); },
              ThrowsMessage<CollectiveError>(HasSubstr("none for group rank 3")));
}

TEST(FakeExchange, PyTorchsValuesAreCopies) {
  CollectiveCall call =
      call_of("c10d::_reduce_scatter_base_", {{at::arange(4, at::kFloat)}, {at::zeros({2})}});
  imitate_pytorch(call, 1, 2);
  EXPECT_EQ(values(call.units[0].outputs[0]), (std::vector<float>{2, 3}));
}

}  // namespace
}  // namespace polyrank
