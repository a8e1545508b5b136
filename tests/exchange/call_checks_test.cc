#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/call_checks.h>

#include <string>
#include <utility>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Tensors = std::vector<at::Tensor>;

const Caller kCaller{.group_size = 4, .group_rank = 1, .describe = [](std::int64_t group_rank) {
                       return "group \"tp\" (ranks 4-7), rank " + std::to_string(4 + group_rank);
                     }};

CollectiveCall call_of(const char* op_name, Tensors inputs, Tensors outputs) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  call.units = {{std::move(inputs), std::move(outputs)}};
  return call;
}

void expect_refused(const CollectiveCall& call, const std::string& why) {
  EXPECT_THAT([&] { check_call(call, kCaller); }, ThrowsMessage<CollectiveError>(HasSubstr(why)));
}

TEST(CallChecks, SoundCallsPass) {
  const at::Tensor x = at::ones({8, 2});
  check_call(call_of("c10d::allreduce_", {x}, {x}), kCaller);
  check_call(call_of("c10d::_allgather_base_", {x}, {at::ones({32, 2})}), kCaller);
  check_call(call_of("c10d::allgather_", {x}, {x, x, x, x}), kCaller);
  check_call(call_of("c10d::_reduce_scatter_base_", {x}, {at::ones({2, 2})}), kCaller);
  check_call(call_of("c10d::alltoall_base_", {x}, {x}), kCaller);
  check_call(call_of("c10d::gather_", {x}, {}), kCaller);  // the root is another
}

TEST(CallChecks, OutputsThatTheInputsDoNotFillAreRefused) {
  const at::Tensor x = at::ones({8, 2});
  expect_refused(call_of("c10d::_allgather_base_", {x}, {at::ones({30, 2})}),
                 "the output must have 4 times as many elements");
  expect_refused(call_of("c10d::_reduce_scatter_base_", {x}, {at::ones({3, 2})}),
                 "the input must have 4 times as many elements");
  expect_refused(call_of("c10d::allgather_", {x}, {x, x, x}),
                 "a list of 3 output tensors; it needs one for each of the group's 4");
  expect_refused(call_of("c10d::allgather_", {x}, {x, at::ones({1}), x, x}), "this rank's output");
  expect_refused(call_of("c10d::alltoall_", {x, x, x, x}, {x, x}), "a list of 2 output tensors");
  expect_refused(call_of("c10d::alltoall_base_", {x}, {at::ones({4, 2})}),
                 "must have as many elements");
}

TEST(CallChecks, SplitSizesMustAddUp) {
  const at::Tensor x = at::ones({8});
  expect_refused(call_of("c10d::alltoall_base_", {at::ones({6})}, {at::ones({6})}),
                 "leaves a rest");
  CollectiveCall call = call_of("c10d::alltoall_base_", {x}, {x});
  call.input_split_sizes = {2, 2, 2, 1};
  expect_refused(call, "4 pieces of together 7 rows; it must be 4 pieces, of together 8");
  call.input_split_sizes = {4, 4};
  expect_refused(call, "into 2 pieces");
  call.input_split_sizes = {9, -1, 0, 0};
  expect_refused(call, "none can be negative");
}

TEST(CallChecks, MixedTensorsAreRefused) {
  const at::Tensor x = at::ones({2});
  expect_refused(call_of("c10d::_allgather_base_", {x}, {at::ones({8}, at::kDouble)}),
                 "must have one dtype and live on one device");
  expect_refused(call_of("c10d::_allgather_base_", {x}, {at::ones({8}, at::kMeta)}),
                 "must have one dtype and live on one device");
}

TEST(CallChecks, MemoryThatABackendWouldMisreadIsRefused) {
  const at::Tensor columns = at::ones({4, 4}).slice(1, 0, 4, 2);
  expect_refused(call_of("c10d::allreduce_", {columns}, {columns}),
                 "float32[4, 2] with strides [4, 2], which is not contiguous: gloo would mistake");
  const at::Tensor turned = at::ones({4, 4}).t();
  check_call(call_of("c10d::allreduce_", {turned}, {turned}), kCaller);
  expect_refused(call_of("c10d::alltoall_base_", {turned}, {turned}), "not contiguous");
  const at::Tensor without_values = turned.to(at::kMeta);
  expect_refused(call_of("c10d::allreduce_", {without_values}, {without_values}),
                 "NCCL refuses it");
  const at::Tensor part = turned.select(0, 0);  // lists go through a buffer
  check_call(call_of("c10d::allgather_", {part}, {part, part, part, part}), kCaller);
}

TEST(CallChecks, DtypesThatNoBackendTakesAreRefused) {
  const at::Tensor x = at::ones({2}, at::kShort);
  expect_refused(call_of("c10d::allreduce_", {x}, {x}),
                 "int16[2] on cpu; neither gloo nor NCCL takes that dtype");
  expect_refused(call_of("_c10d_functional::all_reduce", {x}, {}), "neither gloo nor NCCL");
}

TEST(CallChecks, RootsAndPeersAreMembers) {
  const at::Tensor x = at::ones({2});
  CollectiveCall call = call_of("c10d::broadcast_", {x}, {x});
  call.root = 4;
  expect_refused(call, "names the root 4, but the group has no group rank 4; valid: 0..3");
  CollectiveCall send = call_of("c10d::send", {x}, {});
  send.peers = {-1};
  expect_refused(send, "group \"tp\" (ranks 4-7), rank 5: send names the peer -1");
  CollectiveCall gather = call_of("c10d::gather_", {x}, {x});
  gather.root = 2;
  expect_refused(gather, "only the root, group rank 2, has any");
}

TEST(CallChecks, WhereAllMembersLaunchOneCallThePlaceOfEachIsChecked) {
  Caller all = kCaller;
  all.group_rank.reset();
  all.all_give_lists = true;
  const at::Tensor x = at::ones({2});
  check_call(call_of("c10d::allgather_", {x}, {x, x, x, x}), all);
  EXPECT_THAT(
      [&] { check_call(call_of("c10d::allgather_", {x}, {x, x, at::ones({3}), x}), all); },
      ThrowsMessage<CollectiveError>(HasSubstr("(ranks 4-7), rank 6: all_gather was given")));
  CollectiveCall gather = call_of("c10d::gather_", {x}, {x, x, x});
  gather.root = 2;
  EXPECT_THAT([&] { check_call(gather, all); },
              ThrowsMessage<CollectiveError>(HasSubstr("a list of 3 output tensors")));
  all.group_rank = 1;  // not the root: its list does not count
  check_call(gather, all);
}

TEST(CallChecks, FunctionalCollectivesTakeWhatTheyNeed) {
  const at::Tensor strided = at::ones({4, 4}).t();
  check_call(call_of("_c10d_functional::all_reduce", {strided}, {}), kCaller);
  CollectiveCall broadcast = call_of("_c10d_functional::broadcast", {strided}, {});
  broadcast.root = 7;
  expect_refused(broadcast, "no group rank 7");
}

}  // namespace
}  // namespace polyrank
