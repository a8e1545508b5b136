#include <gtest/gtest.h>
#include <polyrank/timeline/timeline.h>

#include <map>

#include "random_program.h"

namespace polyrank {
namespace {

constexpr WorkFacts kCompute{};

const Work& work(const Timeline& timeline, WorkNumber number) {
  return timeline.works().at(static_cast<std::size_t>(number));
}

TEST(Timeline, AStreamRunsInOrderAndTheCpuRunsAhead) {
  Timeline timeline;
  const WorkNumber first = timeline.launch(0, 100, kCompute, 5);
  const WorkNumber second = timeline.launch(0, 100, kCompute, 5);
  EXPECT_EQ(work(timeline, first).start, 5);
  EXPECT_EQ(work(timeline, second).start, 105);
  EXPECT_EQ(timeline.host_now(), 10);
  EXPECT_EQ(timeline.makespan(), 205);
}

TEST(Timeline, ASlowCpuLeavesTheStreamIdle) {
  Timeline timeline;
  timeline.launch(0, 10, kCompute, 100);
  const WorkNumber second = timeline.launch(0, 10, kCompute, 100);
  EXPECT_EQ(work(timeline, second).start, 200);
  EXPECT_EQ(work(timeline, second).bound.work, Bound::kHost);
}

TEST(Timeline, AWaitHoldsWhatComesAfterItOnly) {
  Timeline timeline;
  const WorkNumber gather = timeline.launch(1, 50, {.kind = WorkKind::kCommunication}, 1);
  const WorkNumber before = timeline.launch(0, 10, kCompute, 1);
  timeline.wait(0, timeline.record(1));
  const WorkNumber after = timeline.launch(0, 10, kCompute, 1);
  EXPECT_EQ(work(timeline, before).start, 2);
  EXPECT_EQ(work(timeline, after).start, 51);
  EXPECT_EQ(work(timeline, after).bound.work, gather);
}

TEST(Timeline, AnEventIsWhatWasLaunchedBeforeItOnly) {
  Timeline timeline;
  timeline.launch(1, 50, kCompute, 0);
  const TimelineEvent event = timeline.record(1);
  timeline.launch(1, 50, kCompute, 0);
  timeline.host_wait(event);
  EXPECT_EQ(timeline.host_now(), 50);
  timeline.host_wait_for_stream(1);
  EXPECT_EQ(timeline.host_now(), 100);
  ASSERT_EQ(timeline.host_waits().size(), 2U);
  EXPECT_EQ(timeline.host_waits()[1].start, 50);
  EXPECT_EQ(timeline.host_waits()[1].work, 1);
}

TEST(Timeline, StepsEndWithTheirWork) {
  Timeline timeline;
  timeline.launch(0, 100, kCompute, 1);
  timeline.end_step();
  timeline.launch(0, 100, kCompute, 1);
  timeline.end_step();
  ASSERT_EQ(timeline.step_ends().size(), 2U);
  EXPECT_EQ(timeline.step_ends()[0].time, 101);
  EXPECT_EQ(timeline.step_ends()[0].host_busy, 1);
  EXPECT_EQ(timeline.step_ends()[1].time, 201);
}

TEST(Timeline, CommunicationSlowsWhatIsLaunchedAfterItAndRunsBesideIt) {
  constexpr WorkFacts kGather{.kind = WorkKind::kCommunication, .use = {.multiprocessors = 0.5}};
  constexpr WorkFacts kMatmul{.use = {.multiprocessors = 1}};
  Timeline timeline;
  const WorkNumber before = timeline.launch(0, 20, kMatmul, 0);
  const WorkNumber gather = timeline.launch(1, 50, kGather, 0);
  const WorkNumber beside = timeline.launch(0, 10, kMatmul, 0);
  const WorkNumber after = timeline.launch(0, 100, kMatmul, 0);
  const WorkNumber copy = timeline.launch(2, 5, {.kind = WorkKind::kCopy}, 0);
  EXPECT_EQ(work(timeline, before).end, 20);
  EXPECT_EQ(work(timeline, gather).end, 50);
  EXPECT_EQ(work(timeline, beside).end, 40);
  EXPECT_EQ(work(timeline, beside).slowed, 10);
  EXPECT_EQ(work(timeline, after).end, 145);  // 5 of it in the gather's last 10
  EXPECT_EQ(work(timeline, after).slowed, 5);
  EXPECT_EQ(work(timeline, copy).end, 5);
}

// Two groups of a GPU on one link: the later one has what the first leaves.
TEST(Timeline, CommunicationOnTheSameLinkSharesIt) {
  Timeline timeline;
  const auto on = [](double share) {
    return WorkFacts{.kind = WorkKind::kCommunication, .use = {.links = {0, 0, share, share}}};
  };
  const WorkNumber first = timeline.launch(1, 100, on(0.75), 0);
  const WorkNumber second = timeline.launch(2, 100, on(0.5), 0);
  const auto work = [&](WorkNumber number) {
    return timeline.works()[static_cast<std::size_t>(number)];
  };
  EXPECT_EQ(work(first).end, 100);
  EXPECT_EQ(work(second).end, 150);  // at half its pace for 100
  EXPECT_EQ(work(second).slowed, 50);
  timeline.launch(3, 10, {.kind = WorkKind::kCommunication, .use = {.links = {1, 1, 0, 0}}}, 0);
  EXPECT_EQ(timeline.works().back().end, 10);  // other links
}

TEST(Timeline, TheCpuRunsAheadOfAStreamBySoManyLaunches) {
  Timeline timeline;
  constexpr auto kMost = static_cast<std::int64_t>(kMostQueuedLaunches);
  for (std::int64_t i = 0; i < kMost; ++i) {
    timeline.launch(0, 100, {}, 1);
  }
  EXPECT_EQ(timeline.host_now(), kMost);  // it is at the eleventh
  timeline.launch(1, 100, {}, 1);         // another stream has places of its own
  EXPECT_EQ(timeline.host_now(), kMost + 1);
  // The first ended at 101; the next one has to wait for the second.
  timeline.launch(0, 100, {}, 1);
  EXPECT_EQ(timeline.host_now(), kMost + 2);
  for (std::int64_t i = 0; i < 20; ++i) {
    timeline.launch(0, 100, {}, 1);
  }
  EXPECT_EQ(timeline.host_now(), 1 + 21 * 100 + 1);  // the twenty-first is over, and one launched
  EXPECT_FALSE(timeline.host_waits().empty());
  EXPECT_EQ(timeline.host_waits().back().work, 20);
}

TEST(Timeline, RandomProgramsTakeTheLongestPath) {  // (1), (2), (3)
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    const std::vector<Command> program = random_program(seed, 120);
    const Timeline timeline = run(program);
    const SlowTimes slow = slow_times(program);
    ASSERT_EQ(timeline.works().size(), slow.works.size());
    std::map<TimelineStream, std::int64_t> end_of_stream;
    for (std::size_t i = 0; i < slow.works.size(); ++i) {
      const Work& work = timeline.works()[i];
      ASSERT_EQ(work.start, slow.works[i].start);  // (1)
      ASSERT_EQ(work.end, slow.works[i].end);
      ASSERT_GE(work.start, end_of_stream[work.stream]);  // (2)
      end_of_stream[work.stream] = work.end;
    }
    ASSERT_EQ(timeline.host_now(), slow.host_now);
    ASSERT_EQ(timeline.makespan(), slow.makespan);
    ASSERT_EQ(timeline.step_ends().size(), slow.step_ends.size());
    std::int64_t last = 0;
    for (std::size_t i = 0; i < slow.step_ends.size(); ++i) {
      ASSERT_EQ(timeline.step_ends()[i].time, slow.step_ends[i]);
      ASSERT_GE(slow.step_ends[i], last);  // (3)
      last = slow.step_ends[i];
    }
  }
}

TEST(Timeline, WhatAStartIsBoundByEndsThere) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    const Timeline timeline = run(random_program(seed, 120));
    for (std::size_t i = 0; i < timeline.works().size(); ++i) {
      const Work& late = timeline.works()[i];
      if (late.bound.work == Bound::kHost) {
        ASSERT_LE(late.start, late.launch_end);
        ASSERT_LE(late.bound.host_since, late.start);
      } else {
        ASSERT_LT(late.bound.work, static_cast<WorkNumber>(i));
        ASSERT_EQ(work(timeline, late.bound.work).end, late.start);
      }
    }
  }
}

}  // namespace
}  // namespace polyrank
