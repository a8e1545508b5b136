#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/report/collective_record.h>

#include <string>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

std::shared_ptr<const Group> group(const std::string& name, const std::string& label) {
  return std::make_shared<Group>(name, label, RankRuns::of_run({0, 4, 1}),
                                 GroupFamily::fibers({{.size = 4, .stride = 1}}, /*num_ranks=*/8));
}

CollectiveLaunch launch(CollectiveKind kind, std::int64_t input_bytes,
                        const std::string& name = "0") {
  static const auto world = group("0", "world");
  static const auto mesh = group("7", "mesh_dp");
  CollectiveLaunch launch;
  launch.kind = kind;
  launch.group = name == "0" ? world : mesh;
  launch.num_groups = 2;
  launch.num_computed = 1;
  launch.input_bytes = input_bytes;
  return launch;
}

TEST(CollectiveRecord, AddsUpByKindAndGroup) {
  CollectiveRecord record;
  record.launch(launch(CollectiveKind::kAllReduce, 64));
  record.launch(launch(CollectiveKind::kAllReduce, 16));
  record.launch(launch(CollectiveKind::kAllGather, 8));
  record.launch(launch(CollectiveKind::kAllReduce, 4, "7"));

  const auto rows = record.totals();
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].group->label(), "mesh_dp");
  EXPECT_EQ(rows[0].num_launches, 1);
  EXPECT_EQ(rows[1].kind, CollectiveKind::kAllReduce);
  EXPECT_EQ(rows[1].num_launches, 2);
  EXPECT_EQ(rows[1].input_bytes, 80);
  EXPECT_EQ(rows[1].rank_launches, 2 * 2 * 4);
  EXPECT_EQ(rows[1].num_computed, 2);
  EXPECT_EQ(rows[2].kind, CollectiveKind::kAllGather);
}

TEST(CollectiveRecord, IsEmptyAfterReset) {
  CollectiveRecord record;
  record.launch(launch(CollectiveKind::kBarrier, 0));
  record.reset();
  EXPECT_TRUE(record.totals().empty());
}

TEST(CollectiveRecord, CountsLaunchesOfAllThreads) {
  CollectiveRecord record;
  constexpr int kThreads = 4;
  constexpr int kLaunches = 500;
  const auto trace = std::make_shared<CollectiveTrace>();
  record.start(trace);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kLaunches; ++j) {
        record.waited(record.launch(launch(CollectiveKind::kAllReduce, 1)));
      }
      EXPECT_EQ(CollectiveRecord::launches_of_thread(), kLaunches);
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  record.stop(trace);
  EXPECT_EQ(record.totals().front().num_launches, kThreads * kLaunches);
  std::int64_t next = 0;
  for (const TracedLaunch& traced : trace->launches()) {
    EXPECT_EQ(traced.launch.sequence, next++);
    EXPECT_TRUE(traced.wait.has_value());
  }
  EXPECT_EQ(next, kThreads * kLaunches);
}

TEST(CollectiveRecord, GivesNoIdWithoutATrace) {
  CollectiveRecord record;
  EXPECT_FALSE(record.is_tracing());
  EXPECT_EQ(record.launch(launch(CollectiveKind::kAllReduce, 1)), kNotTraced);  // launch (1)
  const auto trace = std::make_shared<CollectiveTrace>();
  record.start(trace);
  EXPECT_TRUE(record.is_tracing());
  EXPECT_NE(record.launch(launch(CollectiveKind::kAllReduce, 1)), kNotTraced);
  record.stop(trace);
  EXPECT_FALSE(record.is_tracing());
  EXPECT_EQ(trace->size(), 1U);
  EXPECT_EQ(trace->launches()[0].launch.sequence, 1);  // (1): the one before the trace counts
}

TEST(CollectiveRecord, TracesMayOverlap) {
  CollectiveRecord record;
  const auto outer = std::make_shared<CollectiveTrace>();
  const auto inner = std::make_shared<CollectiveTrace>();
  record.start(outer);
  const LaunchId first = record.launch(launch(CollectiveKind::kAllReduce, 1));
  record.start(inner);
  const LaunchId second = record.launch(launch(CollectiveKind::kAllGather, 1));
  record.waited(first);
  record.stop(outer);
  record.waited(second);
  record.stop(inner);
  ASSERT_EQ(outer->size(), 2U);
  ASSERT_EQ(inner->size(), 1U);
  EXPECT_TRUE(outer->launches()[0].wait.has_value());
  EXPECT_FALSE(outer->launches()[1].wait.has_value());  // it was over by then
  EXPECT_TRUE(inner->launches()[0].wait.has_value());
}

TEST(CollectiveRecord, KeepsTheFirstWaitAndSequencesOfTheWorld) {
  CollectiveRecord record;
  const auto trace = std::make_shared<CollectiveTrace>();
  record.start(trace);
  CollectiveLaunch own = launch(CollectiveKind::kSend, 1);
  own.sequence = 41;
  const LaunchId id = record.launch(std::move(own));
  record.waited(id);
  const std::int64_t first_wait = trace->launches()[0].wait.value().time_ns;
  record.waited(id);
  EXPECT_EQ(trace->launches()[0].launch.sequence, 41);
  EXPECT_EQ(trace->launches()[0].wait.value().time_ns, first_wait);
  record.restart_sequences();
  record.launch(launch(CollectiveKind::kSend, 1));
  EXPECT_EQ(trace->launches()[1].launch.sequence, 0);
}

}  // namespace
}  // namespace polyrank
