#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/timeline/idle_time.h>
#include <polyrank/timeline/joint_replay.h>
#include <polyrank/timeline/time_report.h>

#include <algorithm>
#include <string>
#include <utility>

#include "random_program.h"

namespace polyrank {
namespace {

RankRecording recording_of(std::int64_t rank, const Timeline& timeline,
                           std::vector<MeetingSeries> series = {}) {
  return {.rank = rank,
          .works = timeline.works(),
          .commands = timeline.commands(),
          .series = std::move(series)};
}

// One rank of a pipeline, by hand: kernels on stream 0, messages on a stream for each direction.
class Stage {
 public:
  Stage(std::int64_t rank, std::int64_t cost) : rank_(rank), cost_(cost) {}

  void compute(std::int64_t duration) { timeline_.launch(0, duration, {}, 0); }

  void send_to(std::int64_t peer) {
    const TimelineStream stream = 10 + peer;
    timeline_.wait(stream, timeline_.record(0));
    message(stream, {rank_, peer});
  }

  void receive_from(std::int64_t peer) {
    const TimelineStream stream = 20 + peer;
    const WorkNumber work = message(stream, {peer, rank_});
    timeline_.wait(0, timeline_.end_of(work));
  }

  void end_step() { timeline_.end_step(); }

  RankRecording recording() const { return recording_of(rank_, timeline_, series_); }

 private:
  WorkNumber message(TimelineStream stream, std::vector<std::int64_t> ends) {
    MeetingSeries series{.name = "pp", .ranks = std::move(ends), .label = "messages of pp"};
    const auto known = std::ranges::find(series_, series);
    const std::int64_t index = known - series_.begin();
    if (known == series_.end()) {
      series_.push_back(std::move(series));
    }
    return timeline_.launch(stream, cost_,
                            {.kind = WorkKind::kCommunication, .group = "pp", .series = index}, 0);
  }

  std::int64_t rank_;
  std::int64_t cost_;
  Timeline timeline_;
  std::vector<MeetingSeries> series_;
};

// Two stages, two microbatches, all forwards first; the second stage is slower.
std::vector<RankRecording> uneven_pipeline() {
  Stage first(0, 1);
  Stage second(4, 1);
  for (int i = 0; i < 2; ++i) {
    first.compute(10);
    first.send_to(4);
    second.receive_from(0);
    second.compute(30);
  }
  for (int i = 0; i < 2; ++i) {
    second.compute(60);
    second.send_to(0);
    first.receive_from(4);
    first.compute(20);
  }
  first.end_step();
  second.end_step();
  return {first.recording(), second.recording()};
}

std::vector<Interval> computing(const Timeline& timeline) {
  std::vector<Interval> all;
  for (const Work& work : timeline.works()) {
    if (work.facts.kind == WorkKind::kCompute) {
      all.push_back({work.start, work.end});
    }
  }
  return all;
}

TEST(JointReplay, AnUnevenPipelineIsAsCountedByHand) {
  const std::vector<Timeline> timelines = replay_together(uneven_pipeline());
  // 0 to 10 and 10 to 20; the first message is there at 11.
  const std::vector<Interval> first{{0, 10}, {10, 20}, {132, 152}, {192, 212}};
  const std::vector<Interval> second{{11, 41}, {41, 71}, {71, 131}, {131, 191}};
  EXPECT_EQ(computing(timelines[0]), first);
  EXPECT_EQ(computing(timelines[1]), second);
  EXPECT_EQ(timelines[0].step_ends().at(0).time, 212);
  EXPECT_EQ(timelines[1].step_ends().at(0).time, 192);  // its last message is over
}

TEST(JointReplay, IdlenessNamesTheRankThatIsLate) {
  const std::vector<Timeline> timelines = replay_together(uneven_pipeline());
  const TimeReport report = TimeReports(timelines[0]).whole();
  EXPECT_EQ(report.compute, 60);
  EXPECT_EQ(report.idle.at({IdleCause::kLateness, "rank 4"}), 111 + 39);
  EXPECT_EQ(report.idle.at({IdleCause::kCommunication, "pp"}), 2);
  // What stands still communicates nothing; the second message is sent while nothing is computed.
  EXPECT_EQ(report.exposed, 3);
  const TimeReport second = TimeReports(timelines[1]).whole();
  EXPECT_EQ(second.idle.at({IdleCause::kLateness, "rank 0"}), 10);
}

TEST(JointReplay, ASlowRankHoldsTheOthersUp) {
  const std::vector<Timeline> timelines = replay_together(uneven_pipeline(), {{4, 2.0}});
  // 11 + 60 + 60 + 120 + 120 + 1 + 20
  EXPECT_EQ(timelines[0].makespan(), 392);
  EXPECT_EQ(computing(timelines[0]).back().end - computing(timelines[0]).back().start, 20);
}

TEST(JointReplay, RanksThatAreNotReplayedAreNotWaitedFor) {
  const std::vector<RankRecording> both = uneven_pipeline();
  const std::vector<Timeline> alone = replay_together({both[0]});
  EXPECT_EQ(alone[0].makespan(), 60);  // its messages are there before it has computed
}

TEST(JointReplay, AMessageThatNobodyReceivesIsADeadlock) {
  Stage first(0, 1);
  Stage second(1, 1);
  first.send_to(1);
  first.send_to(1);
  second.receive_from(0);
  try {
    replay_together({first.recording(), second.recording()});
    FAIL() << "it ended";
  } catch (const DeadlockError& error) {
    EXPECT_EQ(std::string(error.what()),
              "ranks wait for what never comes, in what was recorded of them:\n"
              "  rank 0 stands at number 2 of the messages of pp, to which rank 1 does not come");
  }
}

TEST(JointReplay, RanksThatWaitForEachOtherAreADeadlock) {
  Stage first(0, 1);
  Stage second(1, 1);
  first.receive_from(1);
  first.send_to(1);
  second.receive_from(0);
  second.send_to(0);
  EXPECT_THROW(replay_together({first.recording(), second.recording()}), DeadlockError);
}

TEST(JointReplay, WhatMakesNoSenseIsRefused) {
  const std::vector<RankRecording> both = uneven_pipeline();
  EXPECT_THROW(replay_together({both[0], both[0]}), UsageError);
  EXPECT_THROW(replay_together(both, {{1, 1.3}}), UsageError);
  EXPECT_THROW(replay_together(both, {{4, 0.0}}), UsageError);
  RankRecording without_works = both[0];
  without_works.works.clear();
  EXPECT_THROW(replay_together({without_works}), UsageError);
  RankRecording without_events = both[0];
  without_events.commands = {{.action = TimelineAction::kWait, .number = 3}};
  EXPECT_THROW(replay_together({without_events}), UsageError);
}

TEST(JointReplay, WhatWasSlowedIsNotSlowedAgain) {
  Timeline alone;
  alone.launch(1, 50, {.kind = WorkKind::kCommunication, .use = {.multiprocessors = 0.5}}, 0);
  alone.launch(0, 10, {.use = {.multiprocessors = 1}}, 0);
  const Timeline again = std::move(replay_together({recording_of(0, alone)}).at(0));
  for (const Timeline* timeline : std::initializer_list<const Timeline*>{&alone, &again}) {
    const TimeReport whole = TimeReports(*timeline).whole();
    EXPECT_EQ(whole.compute, 20);
    EXPECT_EQ(whole.slowed, 10);
  }
}

TEST(JointReplay, ARankThatMeetsNobodyIsAsRecorded) {  // (1)
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    const Timeline alone = run(random_program(seed, 120));
    const Timeline again = std::move(replay_together({recording_of(3, alone)}).at(0));
    ASSERT_EQ(again.makespan(), alone.makespan());
    ASSERT_EQ(again.host_now(), alone.host_now());
    ASSERT_EQ(again.host_busy(), alone.host_busy());
    ASSERT_EQ(again.host_waits().size(), alone.host_waits().size());
    const TimeReport before = TimeReports(alone).whole();
    const TimeReport after = TimeReports(again).whole();
    // Of works that start at once another one may be named, and with it what it waited for.
    ASSERT_EQ(after.compute, before.compute);
    ASSERT_EQ(after.exposed, before.exposed);
    ASSERT_EQ(again.step_ends().size(), alone.step_ends().size());
    for (std::size_t i = 0; i < again.step_ends().size(); ++i) {
      ASSERT_EQ(again.step_ends()[i].time, alone.step_ends()[i].time);
      ASSERT_EQ(again.step_ends()[i].host_busy, alone.step_ends()[i].host_busy);
    }
  }
}

constexpr std::int64_t kRanks = 3;

// Programs of several ranks with meetings, which nobody waits for in vain: there is an order in
// which all could run one after the other.
class RandomRanks {
 public:
  RandomRanks(unsigned seed, int length) : random_(seed + 7919) {
    series_ = {{.name = "dp", .ranks = {0, 1, 2}, .label = "dp"},
               {.name = "tp", .ranks = {0, 1}, .label = "tp"},
               {.name = "tp", .ranks = {1, 2}, .label = "tp"},
               {.name = "ep", .ranks = {0, 5}, .label = "ep"}};  // nobody runs rank 5
    std::vector<std::vector<Command>> alone;
    for (unsigned rank = 0; rank < kRanks; ++rank) {
      alone.push_back(random_program(seed * unsigned{kRanks} + rank, length));
      ranks_.emplace_back(&paths_);
      runners_.emplace_back();
    }
    for (int i = 0; i < length; ++i) {
      for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
        obey(rank, alone[rank][static_cast<std::size_t>(i)]);
      }
      if (draw(4) == 0) {
        meet(static_cast<std::size_t>(draw(4)));
      }
    }
    for (SlowRank& rank : ranks_) {
      rank.end();
    }
  }

  std::vector<RankRecording> recordings() const {
    std::vector<RankRecording> all;
    all.reserve(runners_.size());
    for (std::size_t rank = 0; rank < runners_.size(); ++rank) {
      all.push_back(
          recording_of(static_cast<std::int64_t>(rank), runners_[rank].timeline, series_));
    }
    return all;
  }

  std::vector<SlowTimes> times() const {
    const std::vector<std::int64_t> times = paths_.times();
    std::vector<SlowTimes> all;
    all.reserve(ranks_.size());
    for (const SlowRank& rank : ranks_) {
      all.push_back(rank.at(times));
    }
    return all;
  }

 private:
  int draw(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  void obey(std::size_t rank, const Command& command) {
    runners_[rank].obey(command);
    ranks_[rank].obey(command);
  }

  void meet(std::size_t series) {
    const std::size_t met = paths_.node();
    std::vector<std::size_t> ends;
    std::int64_t cost = 0;
    for (const std::int64_t rank : series_[series].ranks) {
      if (rank >= kRanks) {
        continue;
      }
      const Command command{.step = Step::kLaunch,
                            .stream = draw(4),
                            .duration = draw(9),
                            .launch_time = draw(4),
                            .kind = WorkKind::kCommunication,
                            .event = 0,
                            .series = static_cast<std::int64_t>(series)};
      const auto at = static_cast<std::size_t>(rank);
      runners_[at].obey(command);
      const auto [start, end] = ranks_[at].launch(command);
      paths_.edge(start, met);
      ends.push_back(end);
      cost = std::max(cost, command.duration);
    }
    for (const std::size_t end : ends) {
      paths_.edge(met, end, cost);
    }
  }

  std::mt19937 random_;
  std::vector<MeetingSeries> series_;
  LongestPaths paths_;
  std::vector<SlowRank> ranks_;
  std::vector<Runner> runners_;
};

std::vector<Interval> sorted(std::vector<Interval> intervals) {
  std::ranges::sort(intervals, {},
                    [](const Interval& one) { return std::pair(one.start, one.end); });
  return intervals;
}

TEST(JointReplay, RandomRanksTakeTheLongestPath) {  // (2)
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    const RandomRanks program(seed, 60);
    const std::vector<Timeline> timelines = replay_together(program.recordings());
    const std::vector<SlowTimes> slow = program.times();
    for (std::size_t rank = 0; rank < timelines.size(); ++rank) {
      std::vector<Interval> works;
      for (const Work& work : timelines[rank].works()) {
        works.push_back({work.start, work.end});
      }
      ASSERT_EQ(sorted(works), sorted(slow[rank].works));
      ASSERT_EQ(timelines[rank].makespan(), slow[rank].makespan);
      ASSERT_EQ(timelines[rank].host_now(), slow[rank].host_now);
      ASSERT_EQ(timelines[rank].step_ends().size(), slow[rank].step_ends.size());
      for (std::size_t i = 0; i < slow[rank].step_ends.size(); ++i) {
        ASSERT_EQ(timelines[rank].step_ends()[i].time, slow[rank].step_ends[i]);
      }
    }
  }
}

TEST(JointReplay, IdlenessTilesWhatIsNotComputed) {  // (3)
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    for (const Timeline& timeline : replay_together(RandomRanks(seed, 60).recordings())) {
      for (const Work& work : timeline.works()) {
        ASSERT_GE(work.waited, 0);
        ASSERT_LE(work.start + work.waited, work.end);
        ASSERT_EQ(work.late_rank >= 0, work.waited > 0);
      }
      const TimeReport report = TimeReports(timeline).whole();
      std::int64_t idle = 0;
      for (const auto& [cause, time] : report.idle) {
        idle += time;
      }
      ASSERT_EQ(report.compute + idle, timeline.makespan());
    }
  }
}

// The second rank comes late: the first one's stream stands still at their meeting, so that its CPU
// has to wait there, though in its own recording it never did.
TEST(JointReplay, TheCpuWaitsForAPlaceWhereAnotherRankHoldsUpTheStream) {
  const std::vector<MeetingSeries> series{{.name = "dp", .ranks = {0, 1}, .label = "dp"}};
  const auto meet = [](Timeline* timeline) {
    timeline->launch(0, 10, {.kind = WorkKind::kCommunication, .group = "dp", .series = 0}, 1);
  };
  Timeline early;
  meet(&early);
  constexpr auto kMost = static_cast<std::int64_t>(kMostQueuedLaunches);
  for (std::int64_t i = 0; i < kMost; ++i) {
    early.launch(0, 1, {}, 100);
  }
  EXPECT_TRUE(early.host_waits().empty());
  constexpr std::int64_t kLate = 1'000'000;
  Timeline late;
  late.host_works(kLate);
  meet(&late);
  const std::vector<Timeline> replayed =
      replay_together({recording_of(0, early, series), recording_of(1, late, series)});
  const Timeline& first = replayed.front();
  ASSERT_EQ(first.host_waits().size(), 1);
  EXPECT_EQ(first.host_waits().front().end, kLate + 1 + 10);
  EXPECT_EQ(first.host_now(), kLate + 1 + 10 + 100);
}

}  // namespace
}  // namespace polyrank
