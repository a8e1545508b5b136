#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/meeting_exchange.h>
#include <world/meetings.h>

#include <memory>
#include <vector>

namespace polyrank {
namespace {

TEST(MeetingExchangeTest, LaunchesTellShapesRootAndReduceOp) {
  const at::Tensor x = at::ones({2, 3});
  CollectiveCall call = call_of("c10d::reduce_", {x}, {x});
  call.root = 1;
  call.reduce_op = ReduceOp::kMax;
  const Launch launch = launch_of(call, "t.py:1");
  EXPECT_EQ(to_string(launch), "reduce(root 1, max) float32[2, 3]");
  EXPECT_TRUE(launch.outputs.empty());  // it overwrites its input
  EXPECT_EQ(launch.where, "t.py:1");
  const Launch gather = launch_of(call_of("c10d::_allgather_base_", {x}, {at::ones({4, 3})}), "");
  EXPECT_EQ(gather.outputs, (BoardList<TensorShape>{{"float32", {4, 3}}}));
}

TEST(MeetingExchangeTest, NothingIsWritten) {
  const at::Tensor x = at::ones({2});
  CollectiveCall call = call_of("c10d::allreduce_", {x}, {x});
  const auto results = results_of(*meeting_of({call, call}), {&call, &call}, 0);
  ASSERT_EQ(results.size(), 2U);
  EXPECT_EQ(results[1].participant, 1U);
  EXPECT_TRUE(results[0].tensor.is_same(results[1].tensor));  // all get the same
  EXPECT_TRUE(results[0].tensor.equal(at::full({2}, 2.0)));
  EXPECT_TRUE(x.equal(at::ones({2})));
}

TEST(MeetingExchangeTest, AnOutputThatDoesNotFitIsAnError) {
  const at::Tensor x = at::ones({2});
  CollectiveCall call = call_of("c10d::_allgather_base_", {x}, {at::ones({3})});
  EXPECT_THROW(results_of(*meeting_of({call, call}), {&call, &call}, 0), CollectiveError);
}

}  // namespace
}  // namespace polyrank
