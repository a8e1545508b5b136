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
  timeline.launch(0, 100, {.flops = 1e9, .roofline = 80}, 0);
  const TimeReport report = TimeReports(timeline).report(75, 100);
  EXPECT_EQ(report.compute, 25);
  EXPECT_DOUBLE_EQ(report.flops, 0.25e9);
  EXPECT_DOUBLE_EQ(report.roofline, 20);
  EXPECT_EQ(report.recomputed_flops, 0);
}

TEST(TimeReport, TellsWhatWasRecomputed) {
  Timeline timeline;
  timeline.launch(0, 100, {.flops = 3e9}, 0);
  timeline.launch(0, 100, {.flops = 1e9, .recomputed_flops = 0.4e9}, 0);
  const TimeReport report = TimeReports(timeline).report(0, 200);
  EXPECT_DOUBLE_EQ(report.flops, 4e9);
  EXPECT_DOUBLE_EQ(report.recomputed_flops, 0.4e9);
}

TEST(TimeReport, StepsHaveTheCpuThatWorkedForThem) {
  Timeline timeline;
  timeline.launch(0, 100, {}, 3);
  timeline.end_step();
  timeline.launch(0, 100, {}, 4);
  timeline.host_works(1);
  timeline.end_step();
  const std::vector<TimeReport> steps = TimeReports(timeline).steps();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].end, 103);
  EXPECT_EQ(steps[0].host_busy, 3);
  EXPECT_EQ(steps[1].start, 103);
  EXPECT_EQ(steps[1].end, 203);
  EXPECT_EQ(steps[1].host_busy, 5);  // of which all was done before the step began
  EXPECT_EQ(TimeReports(timeline).whole().host_busy, 8);
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
      parts.flops += part.flops;
    }
    ASSERT_EQ(parts.compute, all.compute);  // (3)
    ASSERT_EQ(parts.communication, all.communication);
    ASSERT_EQ(parts.exposed, all.exposed);
    ASSERT_NEAR(parts.flops, all.flops, 1e-9);
  }
}

}  // namespace
}  // namespace polyrank
