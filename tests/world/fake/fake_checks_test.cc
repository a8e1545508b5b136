#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/fake/fake_checks.h>

#include <string>
#include <utility>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Tensors = std::vector<at::Tensor>;

const FakeCaller kCaller{
    .description = "group \"tp\" (ranks 4-7), rank 5", .group_rank = 1, .group_size = 4};

CollectiveCall call_of(const char* op_name, Tensors inputs, Tensors outputs) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  call.units = {{std::move(inputs), std::move(outputs)}};
  return call;
}

void expect_refused(const CollectiveCall& call, const std::string& why) {
  EXPECT_THAT([&] { check_fake_call(call, kCaller); },
              ThrowsMessage<CollectiveError>(HasSubstr(why)));
}

TEST(FakeChecks, SoundCallsPass) {
  const at::Tensor x = at::ones({8, 2});
  check_fake_call(call_of("c10d::allreduce_", {x}, {x}), kCaller);
  check_fake_call(call_of("c10d::_allgather_base_", {x}, {at::ones({32, 2})}), kCaller);
  check_fake_call(call_of("c10d::allgather_", {x}, {x, x, x, x}), kCaller);
  check_fake_call(call_of("c10d::_reduce_scatter_base_", {x}, {at::ones({2, 2})}), kCaller);
  check_fake_call(call_of("c10d::alltoall_base_", {x}, {x}), kCaller);
  check_fake_call(call_of("c10d::gather_", {x}, {}), kCaller);  // the root is another
}

TEST(FakeChecks, OutputsThatTheInputsDoNotFillAreRefused) {
  const at::Tensor x = at::ones({8, 2});
  expect_refused(call_of("c10d::_allgather_base_", {x}, {at::ones({30, 2})}),
                 "the output must have 4 times as many elements");
  expect_refused(call_of("c10d::_reduce_scatter_base_", {x}, {at::ones({3, 2})}),
                 "the input must have 4 times as many elements");
  expect_refused(call_of("c10d::allgather_", {x}, {x, x, x}), "a list of 3 outputs; it needs 4");
  expect_refused(call_of("c10d::allgather_", {x}, {x, at::ones({1}), x, x}), "this rank's output");
  expect_refused(call_of("c10d::alltoall_", {x, x, x, x}, {x, x}), "a list of 2 outputs");
  expect_refused(call_of("c10d::alltoall_base_", {x}, {at::ones({4, 2})}),
                 "must have as many elements");
}

TEST(FakeChecks, SplitSizesMustAddUp) {
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

TEST(FakeChecks, MixedTensorsAreRefused) {
  const at::Tensor x = at::ones({2});
  expect_refused(call_of("c10d::_allgather_base_", {x}, {at::ones({8}, at::kDouble)}),
                 "must have one dtype and live on one device");
  expect_refused(call_of("c10d::_allgather_base_", {x}, {at::ones({8}, at::kMeta)}),
                 "must have one dtype and live on one device");
  const at::Tensor strided = at::ones({4, 4}).t();
  expect_refused(call_of("c10d::allreduce_", {strided}, {strided}), "not contiguous");
  const at::Tensor part = strided.select(0, 0);  // lists go through a buffer
  check_fake_call(call_of("c10d::allgather_", {part}, {part, part, part, part}), kCaller);
}

TEST(FakeChecks, RootsAndPeersAreMembers) {
  const at::Tensor x = at::ones({2});
  CollectiveCall call = call_of("c10d::broadcast_", {x}, {x});
  call.root = 4;
  expect_refused(call, "names group rank 4 as its root; the group has 4 members, 0..3");
  CollectiveCall send = call_of("c10d::send", {x}, {});
  send.peers = {-1};
  expect_refused(send, "group \"tp\" (ranks 4-7), rank 5: send names group rank -1 as its peer");
  CollectiveCall gather = call_of("c10d::gather_", {x}, {x});
  gather.root = 2;
  expect_refused(gather, "only the root, group rank 2, has any");
}

}  // namespace
}  // namespace polyrank
