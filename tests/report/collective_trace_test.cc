#include <gtest/gtest.h>
#include <polyrank/report/collective_trace.h>

namespace polyrank {
namespace {

TracedLaunch traced(CollectiveKind kind, std::int64_t input_bytes, std::int64_t output_bytes) {
  TracedLaunch traced;
  traced.launch.kind = kind;
  traced.launch.group = std::make_shared<Group>("0", "world", RankRuns::of_run({0, 4, 1}));
  traced.launch.inputs = {{.dtype = "float32", .shape = {8}, .nbytes = input_bytes}};
  traced.launch.outputs = {{.dtype = "float32", .shape = {8}, .nbytes = output_bytes}};
  return traced;
}

TEST(CollectiveTrace, BytesFollowFromTheCostModel) {
  EXPECT_EQ(traced(CollectiveKind::kAllReduce, 64, 64).payload_bytes(), 64);
  EXPECT_EQ(traced(CollectiveKind::kAllReduce, 64, 64).wire_bytes(), 2 * 3 * 16);
  EXPECT_EQ(traced(CollectiveKind::kAllGather, 16, 64).payload_bytes(), 64);
  EXPECT_EQ(traced(CollectiveKind::kAllGather, 16, 64).wire_bytes(), 3 * 16);
  EXPECT_EQ(traced(CollectiveKind::kReceive, 0, 64).payload_bytes(), 64);
  EXPECT_EQ(traced(CollectiveKind::kReceive, 0, 64).wire_bytes(), 0);
}

TEST(CollectiveTrace, FindsTheLaunchOfAWait) {
  CollectiveTrace trace;
  for (const LaunchId id : {3U, 5U, 9U}) {
    TracedLaunch launch = traced(CollectiveKind::kAllReduce, 4, 4);
    launch.id = id;
    trace.add(std::move(launch));
  }
  trace.add_wait(5, {.time_ns = 7, .source = {"train.py", 12}});
  trace.add_wait(4, {.time_ns = 8, .source = {}});  // of another trace's launch
  const auto launches = trace.launches();
  ASSERT_EQ(launches.size(), 3U);
  EXPECT_FALSE(launches[0].wait.has_value());
  EXPECT_EQ(launches[1].wait.value().source, (SourceLine{"train.py", 12}));
  EXPECT_FALSE(launches[2].wait.has_value());
}

TEST(CollectiveTrace, ItsClockGoesForward) {
  const std::int64_t before = trace_clock_ns();
  const CollectiveTrace trace;
  EXPECT_LE(before, trace.start_ns());
  EXPECT_LE(trace.start_ns(), trace_clock_ns());
}

}  // namespace
}  // namespace polyrank
