#include <gtest/gtest.h>
#include <polyrank/timeline/time_report.h>

#include <algorithm>
#include <utility>

#include "random_program.h"

namespace polyrank {
namespace {

TEST(TimeReport, ExposedIsWhatNoComputeCovers) {
  Timeline timeline;
  timeline.launch(
      1, 100,
      {.kind = WorkKind::kCommunication, .name = "all_gather", .module = "layers.0", .group = "dp"},
      0);
  timeline.launch(0, 30, {.name = "mm", .module = "layers.0", .flops = 6e9}, 0);
  timeline.wait(0, timeline.record(1));
  timeline.launch(0, 20, {.name = "mm", .module = "layers.1", .flops = 4e9}, 0);
  const TimeReport report = TimeReports(timeline).report(0, 120);
  EXPECT_EQ(report.compute, 50);
  EXPECT_EQ(report.communication, 100);
  EXPECT_EQ(report.exposed, 70);
  EXPECT_EQ(report.by_group.at("dp").exposed, 70);
  EXPECT_EQ(report.by_module.at("layers.0").exposed, 70);
  EXPECT_EQ(report.by_module.at("layers.0").compute, 30);
  EXPECT_EQ(report.by_name.at("mm").count, 2);
  EXPECT_DOUBLE_EQ(report.flops, 1e10);
  EXPECT_EQ(report.idle.at({IdleCause::kCommunication, "dp"}), 70);
}

TEST(TimeReport, WorkThatRanInPartCountsByItsShare) {
  Timeline timeline;
  timeline.launch(0, 100, {.flops = 1e9}, 0);
  const TimeReport report = TimeReports(timeline).report(75, 100);
  EXPECT_EQ(report.compute, 25);
  EXPECT_DOUBLE_EQ(report.flops, 0.25e9);
}

std::int64_t sum_of(const TimeReport& report) {
  std::int64_t sum = report.compute;
  for (const auto& [cause, time] : report.idle) {
    sum += time;
  }
  return sum;
}

std::int64_t exposed_by(const SumsByText& sums) {
  std::int64_t sum = 0;
  for (const auto& [text, one] : sums) {
    sum += one.exposed;
  }
  return sum;
}

TEST(TimeReport, LawsHoldForRandomPrograms) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    const Timeline timeline = run(random_program(seed, 120));
    const TimeReports reports(timeline);
    const std::int64_t end = timeline.makespan();
    const TimeReport all = reports.report(0, end);
    TimeReport parts;
    for (const auto& [from, to] :
         {std::pair(std::int64_t{0}, end / 3), {end / 3, end / 2}, {end / 2, end}}) {
      const TimeReport part = reports.report(from, to);
      ASSERT_EQ(sum_of(part), to - from);           // (1)
      ASSERT_LE(part.exposed, part.communication);  // (2)
      ASSERT_LE(part.exposed, exposed_by(part.by_group));
      ASSERT_LE(part.exposed, exposed_by(part.by_module));
      parts.compute += part.compute;
      parts.communication += part.communication;
      parts.exposed += part.exposed;
      parts.launching += part.launching;
      parts.flops += part.flops;
    }
    ASSERT_EQ(parts.compute, all.compute);  // (3)
    ASSERT_EQ(parts.communication, all.communication);
    ASSERT_EQ(parts.exposed, all.exposed);
    ASSERT_EQ(parts.launching, all.launching);
    ASSERT_NEAR(parts.flops, all.flops, 1e-9);
  }
}

}  // namespace
}  // namespace polyrank
