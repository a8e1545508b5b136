#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/api/collectives.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/api/messages.h>
#include <polyrank/api/rank_functions.h>
#include <polyrank/exchange/launch_details.h>
#include <polyrank/report/collective_record.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;

TEST(TensorRuns, PutEqualNeighboursTogether) {
  const at::Tensor pair = at::zeros({2, 3});
  const at::Tensor half = at::zeros({2, 3}, at::kHalf);
  const auto runs = tensor_runs({pair, pair, half, at::zeros({})});
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(runs[0],
            (TensorRun{.dtype = "float32", .shape = {2, 3}, .count = 2, .nbytes = 48}));  // (1) (2)
  EXPECT_EQ(runs[1], (TensorRun{.dtype = "float16", .shape = {2, 3}, .count = 1, .nbytes = 12}));
  EXPECT_EQ(runs[2], (TensorRun{.dtype = "float32", .shape = {}, .count = 1, .nbytes = 4}));
  EXPECT_TRUE(tensor_runs({}).empty());
}

TEST(TensorRuns, OfAViewHoldWhatTheViewHolds) {
  EXPECT_EQ(tensor_runs({at::zeros({100}).slice(0, 3, 5)}).front().nbytes, 8);
}

class TracedWorldTest : public ::testing::Test {
 protected:
  void SetUp() override { collective_record().start(trace_); }
  void TearDown() override { collective_record().stop(trace_); }

  LockstepWorld world_{4};
  std::shared_ptr<CollectiveTrace> trace_ = std::make_shared<CollectiveTrace>();
  at::Tensor x_ =
      rank_map([](std::int64_t rank) { return at::full({2}, static_cast<double>(rank)); });
};

TEST_F(TracedWorldTest, AnAllReduce) {
  all_reduce(x_, {.op = c10d::ReduceOp::MAX});
  ASSERT_EQ(trace_->size(), 1U);
  const TracedLaunch traced = trace_->launches()[0];
  EXPECT_EQ(traced.launch.op_name, "c10d::allreduce_");
  EXPECT_EQ(traced.launch.group->label(), "world");
  EXPECT_EQ(traced.launch.group->ranks().to_string(), "0-3");
  EXPECT_EQ(traced.launch.cohorts.num_cohorts(), 4);
  EXPECT_EQ(traced.launch.reduce_op, ReduceOp::kMax);
  EXPECT_EQ(traced.launch.inputs, traced.launch.outputs);
  EXPECT_EQ(traced.payload_bytes(), 8);
  EXPECT_FALSE(traced.wait.has_value());
  EXPECT_GE(traced.launch.start_ns, trace_->start_ns());
  EXPECT_LE(traced.launch.start_ns, traced.end_ns);
}

TEST_F(TracedWorldTest, SizesThatDifferBetweenRanks) {
  const at::Tensor uneven = rank_map([](std::int64_t rank) { return at::zeros({rank + 1}); });
  const auto runs = tensor_runs({uneven});
  EXPECT_THAT(runs[0].shape, ElementsAre(TensorRun::kDiffers));
  EXPECT_EQ(runs[0].nbytes, 16);
}

TEST_F(TracedWorldTest, MessagesAndTheirWait) {
  const c10::SymInt rank = get_rank();
  const at::Tensor y = at::zeros({2});
  const auto work = irecv(y, (rank + 3) % 4);
  send(x_, (rank + 1) % 4);
  EXPECT_FALSE(trace_->launches()[0].wait.has_value());
  work->wait();
  const auto launches = trace_->launches();
  ASSERT_EQ(launches.size(), 2U);
  EXPECT_EQ(launches[0].launch.kind, CollectiveKind::kReceive);
  EXPECT_EQ(launches[0].launch.root, CollectiveLaunch::kDiffers);
  EXPECT_EQ(launches[0].payload_bytes(), 8);
  EXPECT_TRUE(launches[0].wait.has_value());
  EXPECT_TRUE(launches[1].launch.outputs.empty());
}

TEST(TensorWaits, BelongToTheLaunchOfTheStorage) {
  const auto trace = std::make_shared<CollectiveTrace>();
  collective_record().start(trace);
  CollectiveLaunch launch;
  launch.group = std::make_shared<Group>("", "", RankRuns());
  const LaunchId id = collective_record().launch(launch);
  const at::Tensor result = at::zeros({4});
  expect_tensor_waits({result}, id);
  note_tensor_wait(at::zeros({4}));
  EXPECT_FALSE(trace->launches()[0].wait.has_value());
  note_tensor_wait(result.view({2, 2}));
  EXPECT_TRUE(trace->launches()[0].wait.has_value());
  collective_record().stop(trace);
}

}  // namespace
}  // namespace polyrank
