#include <gtest/gtest.h>
#include <polyrank/timeline/idle_time.h>

#include <algorithm>
#include <utility>

#include "random_program.h"

namespace polyrank {
namespace {

TEST(IdleTime, ALateCollectiveIsWaitedForFromItsStartOnly) {
  Timeline timeline;
  timeline.launch(0, 10, {}, 0);  // computes until 10
  timeline.host_works(30);
  timeline.launch(1, 40, {.kind = WorkKind::kCommunication, .group = "dp"}, 0);  // 30 to 70
  timeline.wait(0, timeline.record(1));
  timeline.launch(0, 5, {}, 0);
  const std::vector<IdleTime> idle = idle_times(timeline);
  ASSERT_EQ(idle.size(), 2U);
  EXPECT_EQ(idle[0].start, 10);
  EXPECT_EQ(idle[0].end, 30);
  EXPECT_EQ(idle[0].cause, IdleCause::kHost);
  EXPECT_EQ(idle[1].start, 30);
  EXPECT_EQ(idle[1].end, 70);
  EXPECT_EQ(idle[1].cause, IdleCause::kCommunication);
  EXPECT_EQ(idle[1].group, "dp");
}

TEST(IdleTime, ACpuThatWaitedForACollectiveHandsItsWaitOn) {
  Timeline timeline;
  timeline.launch(1, 40, {.kind = WorkKind::kCommunication, .group = "ep"}, 0);
  timeline.host_wait_for_stream(1);  // reads what was exchanged
  timeline.launch(0, 5, {}, 7);
  const std::vector<IdleTime> idle = idle_times(timeline);
  ASSERT_EQ(idle.size(), 2U);
  EXPECT_EQ(idle[0].cause, IdleCause::kCommunication);
  EXPECT_EQ(idle[0].end, 40);
  EXPECT_EQ(idle[1].cause, IdleCause::kHost);
  EXPECT_EQ(idle[1].end, 47);
}

TEST(IdleTime, TilesWhatIsNotComputed) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    const Timeline timeline = run(random_program(seed, 120));
    std::vector<int> covers(static_cast<std::size_t>(timeline.makespan()), 0);
    for (const Work& work : timeline.works()) {
      if (work.facts.kind == WorkKind::kCompute) {
        std::fill(covers.begin() + work.start, covers.begin() + work.end, 1);
      }
    }
    std::int64_t last = 0;
    for (const IdleTime& idle : idle_times(timeline)) {
      ASSERT_LT(idle.start, idle.end);
      ASSERT_GE(idle.start, last);  // (1)
      last = idle.end;
      for (std::int64_t at = idle.start; at < idle.end; ++at) {
        ASSERT_EQ(covers[static_cast<std::size_t>(at)]++, 0);
      }
      ASSERT_EQ(idle.group.empty(), idle.cause != IdleCause::kCommunication);
    }
    ASSERT_EQ(std::count(covers.begin(), covers.end(), 1), timeline.makespan());  // (2)
  }
}

TEST(IdleTime, NamesWhatRunsThen) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    const Timeline timeline = run(random_program(seed, 120));
    for (const IdleTime& idle : idle_times(timeline)) {
      if (idle.cause == IdleCause::kHost) {
        continue;
      }
      ASSERT_TRUE(std::ranges::any_of(timeline.works(), [&](const Work& work) {
        return work.start <= idle.start && work.end >= idle.end && work.facts.group == idle.group &&
               work.facts.kind != WorkKind::kCompute;
      }));
    }
  }
}

}  // namespace
}  // namespace polyrank
