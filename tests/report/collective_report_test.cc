#include <gtest/gtest.h>
#include <polyrank/report/collective_report.h>

#include <thread>
#include <vector>

namespace polyrank {
namespace {

CollectiveLaunch launch(CollectiveKind kind, const std::string& group, std::int64_t input_bytes) {
  return {.kind = kind,
          .group_name = group,
          .group_label = group == "0" ? "world" : "mesh_dp",
          .group_size = 4,
          .num_groups = 2,
          .num_computed = 1,
          .input_bytes = input_bytes};
}

TEST(CollectiveReport, AddsUpByKindAndGroup) {
  CollectiveReport report;
  report.record(launch(CollectiveKind::kAllReduce, "0", 64));
  report.record(launch(CollectiveKind::kAllReduce, "0", 16));
  report.record(launch(CollectiveKind::kAllGather, "0", 8));
  report.record(launch(CollectiveKind::kAllReduce, "7", 4));

  const auto rows = report.rows();
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].group_label, "mesh_dp");
  EXPECT_EQ(rows[0].num_launches, 1);
  EXPECT_EQ(rows[1].kind, CollectiveKind::kAllReduce);
  EXPECT_EQ(rows[1].num_launches, 2);
  EXPECT_EQ(rows[1].input_bytes, 80);
  EXPECT_EQ(rows[1].rank_launches, 2 * 2 * 4);
  EXPECT_EQ(rows[1].num_computed, 2);
  EXPECT_EQ(rows[2].kind, CollectiveKind::kAllGather);
}

TEST(CollectiveReport, IsEmptyAfterReset) {
  CollectiveReport report;
  report.record(launch(CollectiveKind::kBarrier, "0", 0));
  report.reset();
  EXPECT_TRUE(report.rows().empty());
}

TEST(CollectiveReport, CountsLaunchesOfAllThreads) {
  CollectiveReport report;
  constexpr int kThreads = 4;
  constexpr int kLaunches = 500;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&report] {
      for (int j = 0; j < kLaunches; ++j) {
        report.record(launch(CollectiveKind::kAllReduce, "0", 1));
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(report.rows().front().num_launches, kThreads * kLaunches);
}

}  // namespace
}  // namespace polyrank
