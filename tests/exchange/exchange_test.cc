#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/exchange.h>

#include <array>
#include <span>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::ThrowsMessage;

CollectiveCall call_of(const char* op_name) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  return call;
}

MemberInputs members(const std::vector<at::Tensor>& tensors) {
  MemberInputs inputs;
  inputs.group_label = "dp";
  static constexpr std::array<std::int64_t, 4> kRanks{0, 1, 2, 3};
  inputs.members = std::span(kRanks).first(tensors.size());
  inputs.tensors = {MemberTensors(tensors)};
  return inputs;
}

void add_input(MemberInputs* inputs, const std::vector<at::Tensor>& by_member) {
  inputs->tensors.emplace_back(by_member);
}

TEST(Exchange, AllReduceGivesAllMembersTheFold) {
  const MemberOutputs out =
      exchange(call_of("c10d::allreduce_"), members({at::ones({2}), at::ones({2})}));
  EXPECT_TRUE(out.same_on_members);
  EXPECT_THAT(values(out.tensors[0][0]), ElementsAre(2, 2));
}

TEST(Exchange, AllGatherConcatenatesOrStacks) {
  const CollectiveCall call = call_of("_c10d_functional::all_gather_into_tensor");
  EXPECT_EQ(exchange(call, members({at::ones({2, 3}), at::ones({2, 3})})).tensors[0][0].sizes(),
            (std::vector<std::int64_t>{4, 3}));
  EXPECT_EQ(exchange(call, members({at::ones({}), at::ones({})})).tensors[0][0].sizes(),
            (std::vector<std::int64_t>{2}));
}

TEST(Exchange, AllGatherOfAListHandsOutTheMembersTensors) {
  const at::Tensor first = at::ones({2});
  const MemberOutputs out = exchange(call_of("c10d::allgather_"), members({first, at::zeros({3})}));
  ASSERT_THAT(out.tensors, SizeIs(2));
  EXPECT_TRUE(out.tensors[0][0].is_same(first));
  EXPECT_FALSE(out.are_new);
}

TEST(Exchange, ReduceScatterGivesEachMemberItsPiece) {
  const MemberOutputs out =
      exchange(call_of("c10d::_reduce_scatter_base_"),
               members({at::tensor({1.0F, 2.0F}), at::tensor({10.0F, 20.0F})}));
  EXPECT_FALSE(out.same_on_members);
  EXPECT_THAT(values(out.tensors[0][0]), ElementsAre(11));
  EXPECT_THAT(values(out.tensors[0][1]), ElementsAre(22));
  EXPECT_FALSE(out.tensors[0][0].is_alias_of(out.tensors[0][1]));
}

TEST(Exchange, ReduceScatterOfAListMayBeUneven) {
  MemberInputs inputs = members({at::ones({1}), at::ones({1})});
  add_input(&inputs, {at::ones({3}), at::ones({3})});
  const MemberOutputs out = exchange(call_of("c10d::reduce_scatter_"), inputs);
  EXPECT_THAT(values(out.tensors[0][1]), ElementsAre(2, 2, 2));
}

TEST(Exchange, BroadcastHandsOutTheRootsTensor) {
  CollectiveCall call = call_of("c10d::broadcast_");
  call.root = 1;
  const at::Tensor root = at::ones({2});
  EXPECT_TRUE(exchange(call, members({at::zeros({2}), root})).tensors[0][0].is_same(root));
}

TEST(Exchange, AllToAllTransposes) {
  const MemberOutputs out = exchange(call_of("c10d::alltoall_base_"),
                                     members({at::tensor({1.0F, 2.0F}), at::tensor({3.0F, 4.0F})}));
  EXPECT_THAT(values(out.tensors[0][0]), ElementsAre(1, 3));
  EXPECT_THAT(values(out.tensors[0][1]), ElementsAre(2, 4));
}

TEST(Exchange, AllToAllOfListsHandsOutTheMembersTensors) {
  MemberInputs inputs = members({at::tensor({1.0F}), at::tensor({3.0F, 3.0F})});
  add_input(&inputs, {at::tensor({2.0F, 2.0F}), at::tensor({4.0F})});
  const MemberOutputs out = exchange(call_of("c10d::alltoall_"), inputs);
  EXPECT_TRUE(out.tensors[0][0].is_same(inputs.tensors[0][0]));  // rank 0's from rank 0
  EXPECT_TRUE(out.tensors[1][0].is_same(inputs.tensors[0][1]));  // rank 0's from rank 1
  EXPECT_TRUE(out.tensors[0][1].is_same(inputs.tensors[1][0]));  // rank 1's from rank 0
  EXPECT_FALSE(out.are_new);
}

TEST(Exchange, ScatterHandsOutTheRootsTensors) {
  MemberInputs inputs = members({at::zeros({1}), at::tensor({1.0F})});
  add_input(&inputs, {at::zeros({1}), at::tensor({2.0F})});
  CollectiveCall call = call_of("c10d::scatter_");
  call.root = 1;
  const MemberOutputs out = exchange(call, inputs);
  EXPECT_THAT(values(out.tensors[0][0]), ElementsAre(1));
  EXPECT_THAT(values(out.tensors[0][1]), ElementsAre(2));
}

TEST(Exchange, ReduceAndGatherGiveWhatTheRootGets) {
  const MemberInputs inputs = members({at::ones({2}), at::ones({2})});
  EXPECT_THAT(values(exchange(call_of("c10d::reduce_"), inputs).tensors[0][0]), ElementsAre(2, 2));
  const MemberOutputs gathered = exchange(call_of("c10d::gather_"), inputs);
  ASSERT_THAT(gathered.tensors, SizeIs(2));
  EXPECT_TRUE(gathered.tensors[1][0].is_same(inputs.tensors[0][1]));
}

TEST(Exchange, AllToAllWithSplitSizesMatchesSendersAndReceivers) {
  MemberInputs inputs = members({at::tensor({1.0F, 2.0F, 3.0F}), at::tensor({4.0F})});
  inputs.input_split_sizes = {{1, 2}, {1, 0}};
  inputs.output_split_sizes = {{1, 1}, {2, 0}};
  const CollectiveCall call = call_of("_c10d_functional::all_to_all_single");
  const MemberOutputs out = exchange(call, inputs);
  EXPECT_THAT(values(out.tensors[0][0]), ElementsAre(1, 4));
  EXPECT_THAT(values(out.tensors[0][1]), ElementsAre(2, 3));
  inputs.output_split_sizes = {{1, 1}, {1, 0}};
  EXPECT_THAT(
      [&] { exchange(call, inputs); },
      ThrowsMessage<CollectiveError>(HasSubstr("rank 0 sends 2 rows to rank 1, which expects 1")));
  inputs.input_split_sizes = {{1, 1}, {1, 0}};
  EXPECT_THAT([&] { exchange(call, inputs); },
              ThrowsMessage<CollectiveError>(HasSubstr("it must be 2 pieces, of together 3")));
  inputs.input_split_sizes = {};
  EXPECT_THAT([&] { exchange(call, inputs); },
              ThrowsMessage<CollectiveError>(HasSubstr("cuts each rank's float32[3] into 2")));
}

TEST(Exchange, ShardDimAllToAllGathersOneDimAndShardsAnother) {
  CollectiveCall call = call_of("_dtensor::shard_dim_alltoall");
  call.gather_dim = 0;
  call.shard_dim = 1;
  const at::Tensor whole = at::arange(8).view({2, 4});
  const MemberOutputs out = exchange(call, members({whole.narrow(0, 0, 1), whole.narrow(0, 1, 1)}));
  EXPECT_TRUE(out.tensors[0][1].equal(whole.narrow(1, 2, 2)));
}

TEST(Exchange, NamesRanksWhoseTensorsDoNotFit) {
  const MemberInputs uneven = members({at::ones({4}), at::ones({4}), at::ones({2, 3})});
  for (const char* op : {"c10d::allreduce_", "c10d::_allgather_base_", "c10d::broadcast_",
                         "c10d::_reduce_scatter_base_", "c10d::alltoall_base_"}) {
    EXPECT_THAT([&] { exchange(call_of(op), uneven); },
                ThrowsMessage<CollectiveError>(
                    HasSubstr("ranks 0-1 hold float32[4], rank 2 holds float32[2, 3]. Pad them")))
        << op;
  }
  EXPECT_THAT(
      [] {
        exchange(call_of("c10d::_reduce_scatter_base_"), members({at::ones({3}), at::ones({3})}));
      },
      ThrowsMessage<CollectiveError>(HasSubstr(
          "group \"dp\" (ranks 0-1): reduce_scatter cuts each rank's float32[3] into 2")));
}

TEST(DescribeMembers, AbbreviatesManyShapes) {
  std::vector<at::Tensor> tensors;
  std::vector<std::int64_t> ranks;
  for (std::int64_t rank = 0; rank < 100; ++rank) {
    tensors.push_back(at::ones({rank}));
    ranks.push_back(rank);
  }
  const std::string text = describe_members(ranks, MemberTensors(tensors));
  EXPECT_THAT(text, HasSubstr("… (100 shapes)"));
  EXPECT_LT(text.size(), 200U);
}

}  // namespace
}  // namespace polyrank
