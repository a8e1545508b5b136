#include <gtest/gtest.h>
#include <matching/launches.h>
#include <polyrank/matching/launch.h>

namespace polyrank {
namespace {

TEST(LaunchTest, ShapesAreWrittenAsTorchWritesDtypes) {
  EXPECT_EQ(to_string(TensorShape{"bfloat16", {4, 2}}), "bfloat16[4, 2]");
  EXPECT_EQ(to_string(TensorShape{"int64", {}}), "int64[]");
}

TEST(LaunchTest, NumelIsTheProductOfSizes) {
  EXPECT_EQ((TensorShape{"float32", {4, 2}}.numel()), 8);
  EXPECT_EQ((TensorShape{"float32", {}}.numel()), 1);
  EXPECT_EQ((TensorShape{"float32", {3, 0}}.numel()), 0);
}

TEST(LaunchTest, SaysKindRootReduceOpAndShapes) {
  EXPECT_EQ(to_string(all_reduce({4, 2}, ReduceOp::kMax)), "all_reduce(max) float32[4, 2]");
  EXPECT_EQ(to_string(broadcast(1)), "broadcast(root 1) float32[4]");
  EXPECT_EQ(to_string(barrier()), "barrier");
  EXPECT_EQ(to_string(recv_of(3)), "recv float32[3]");
  Launch reduce = all_reduce({1});
  reduce.kind = CollectiveKind::kReduce;
  EXPECT_EQ(to_string(reduce), "reduce(root 0, sum) float32[1]");
}

TEST(LaunchTest, SaysSplitSizes) {
  EXPECT_EQ(to_string(all_to_all({1, 2}, {3, 4}, 3, 7)),
            "all_to_all float32[3, 2] input_split_sizes=[1, 2] output_split_sizes=[3, 4]");
}

TEST(LaunchTest, WritesListsOfOneShapeOnceAndLongListsInPart) {
  Launch gather{.kind = CollectiveKind::kAllToAll};
  gather.inputs.assign(3, {"int32", {2}});
  EXPECT_EQ(to_string(gather), "all_to_all 3 x int32[2]");
  for (std::int64_t size = 0; size < 9; ++size) {
    gather.inputs.push_back({"int32", {size}});
  }
  EXPECT_NE(to_string(gather).find("… (12 tensors)"), std::string::npos);
}

}  // namespace
}  // namespace polyrank
