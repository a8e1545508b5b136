// Programs of random launches, events and waits, as a timeline runs them and as a slow reference
// works them out: the longest path in the graph of all that comes before something.
#pragma once

#include <polyrank/timeline/intervals.h>
#include <polyrank/timeline/timeline.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

namespace polyrank {

enum class Step : std::uint8_t {
  kLaunch,
  kRecord,
  kWait,
  kHostWorks,
  kHostWait,
  kHostWaitForStream,
  kHostWaitForAll,
  kEndStep,
};

struct Command {
  Step step;
  TimelineStream stream;
  std::int64_t duration;
  std::int64_t launch_time;
  WorkKind kind;
  std::size_t event;  // number of an event that was recorded before
  std::int64_t series = WorkFacts::kAlone;
};

inline std::vector<Command> random_program(unsigned seed, int length) {
  std::mt19937 random(seed);
  const auto draw = [&](int below) {
    return static_cast<int>(random() % static_cast<unsigned>(below));
  };
  std::vector<Command> program;
  std::size_t num_events = 0;
  for (int i = 0; i < length; ++i) {
    const int chosen = draw(20);
    Step step = Step::kLaunch;
    if (chosen >= 10) {
      constexpr Step kOthers[] = {
          Step::kRecord,  Step::kRecord,        Step::kWait,     Step::kWait,
          Step::kWait,    Step::kHostWorks,     Step::kHostWait, Step::kHostWaitForStream,
          Step::kEndStep, Step::kHostWaitForAll};
      step = kOthers[chosen - 10];
    }
    const bool needs_event = step == Step::kWait || step == Step::kHostWait;
    if (needs_event && num_events == 0) {
      step = Step::kRecord;
    }
    program.push_back(
        {.step = step,
         .stream = draw(4),
         .duration = draw(9),
         .launch_time = draw(4),
         .kind = static_cast<WorkKind>(draw(3)),
         .event =
             num_events == 0 ? 0 : static_cast<std::size_t>(draw(static_cast<int>(num_events)))});
    num_events += step == Step::kRecord ? 1 : 0;
  }
  return program;
}

// Obeys commands on a timeline.
class Runner {
 public:
  void obey(const Command& command) {
    constexpr std::string_view kGroups[] = {"tp", "dp"};
    switch (command.step) {
      case Step::kLaunch:
        timeline.launch(
            command.stream, command.duration,
            {.kind = command.kind,
             .name = "work",
             .module = kGroups[command.duration % 2],
             .group = command.kind == WorkKind::kCommunication ? kGroups[command.stream % 2]
                                                               : std::string_view(),
             .flops = static_cast<double>(command.duration),
             .series = command.series},
            command.launch_time);
        break;
      case Step::kRecord:
        events_.push_back(timeline.record(command.stream));
        break;
      case Step::kWait:
        timeline.wait(command.stream, events_[command.event]);
        break;
      case Step::kHostWorks:
        timeline.host_works(command.launch_time);
        break;
      case Step::kHostWait:
        timeline.host_wait(events_[command.event]);
        break;
      case Step::kHostWaitForStream:
        timeline.host_wait_for_stream(command.stream);
        break;
      case Step::kHostWaitForAll:
        timeline.host_wait_for_all();
        break;
      case Step::kEndStep:
        timeline.end_step();
        break;
    }
  }

  Timeline timeline;

 private:
  std::vector<TimelineEvent> events_;
};

inline Timeline run(const std::vector<Command>& program) {
  Runner runner;
  for (const Command& command : program) {
    runner.obey(command);
  }
  return std::move(runner.timeline);
}

// Each node is at the latest of what comes before it, each plus its weight.
class LongestPaths {
 public:
  std::size_t node() {
    edges_.emplace_back();
    return edges_.size() - 1;
  }
  void edge(std::size_t from, std::size_t to, std::int64_t weight = 0) {
    edges_[to].push_back({from, weight});
  }
  std::vector<std::int64_t> times() const {
    std::vector<std::int64_t> times(edges_.size(), 0);
    for (bool changes = true; changes;) {
      changes = false;
      for (std::size_t to = 0; to < edges_.size(); ++to) {
        for (const Edge& edge : edges_[to]) {
          if (times[edge.from] + edge.weight > times[to]) {
            times[to] = times[edge.from] + edge.weight;
            changes = true;
          }
        }
      }
    }
    return times;
  }

 private:
  struct Edge {
    std::size_t from;
    std::int64_t weight;
  };
  std::vector<std::vector<Edge>> edges_;
};

struct SlowTimes {
  std::vector<Interval> works;
  std::vector<std::int64_t> step_ends;
  std::int64_t host_now;
  std::int64_t makespan;
};

// One rank in a graph that may be of several.
class SlowRank {
 public:
  explicit SlowRank(LongestPaths* paths) : paths_(*paths), host_(paths->node()) {}

  // Gives the nodes of the start and of the end, which nothing links yet.
  std::pair<std::size_t, std::size_t> launch(const Command& command) {
    host_goes_on(command.launch_time);
    const std::size_t start = paths_.node();
    const std::size_t end = paths_.node();
    paths_.edge(host_, start);
    after_stream(start, static_cast<std::size_t>(command.stream));
    before_[static_cast<std::size_t>(command.stream)].push_back(end);
    starts_.push_back(start);
    ends_.push_back(end);
    return {start, end};
  }

  void obey(const Command& command) {
    const auto stream = static_cast<std::size_t>(command.stream);
    switch (command.step) {
      case Step::kLaunch: {
        const auto [start, end] = launch(command);
        paths_.edge(start, end, command.duration);
        break;
      }
      case Step::kRecord:
        events_.push_back(paths_.node());
        paths_.edge(host_, events_.back());
        after_stream(events_.back(), stream);
        break;
      case Step::kWait:
        before_[stream].push_back(events_[command.event]);
        break;
      case Step::kHostWorks:
        host_goes_on(command.launch_time);
        break;
      case Step::kHostWait:
        host_goes_on(0);
        paths_.edge(events_[command.event], host_);
        break;
      case Step::kHostWaitForStream:
        host_goes_on(0);
        after_stream(host_, stream);
        break;
      case Step::kHostWaitForAll: {
        const std::size_t all = paths_.node();
        after_all(all);
        host_ = all;
        break;
      }
      case Step::kEndStep:
        steps_.push_back(paths_.node());
        after_all(steps_.back());
        break;
    }
  }

  // Nothing more comes.
  void end() {
    last_ = paths_.node();
    after_all(last_);
  }

  SlowTimes at(const std::vector<std::int64_t>& times) const {
    SlowTimes slow{
        .works = {}, .step_ends = {}, .host_now = times[host_], .makespan = times[last_]};
    for (std::size_t i = 0; i < starts_.size(); ++i) {
      slow.works.push_back({times[starts_[i]], times[ends_[i]]});
    }
    for (const std::size_t step : steps_) {
      slow.step_ends.push_back(times[step]);
    }
    return slow;
  }

 private:
  void host_goes_on(std::int64_t weight) {
    const std::size_t next = paths_.node();
    paths_.edge(host_, next, weight);
    host_ = next;
  }
  void after_stream(std::size_t node, std::size_t stream) {
    for (const std::size_t earlier : before_[stream]) {
      paths_.edge(earlier, node);
    }
  }
  void after_all(std::size_t node) {
    paths_.edge(host_, node);
    for (std::size_t stream = 0; stream < before_.size(); ++stream) {
      after_stream(node, stream);
    }
  }

  LongestPaths& paths_;
  std::size_t host_;
  std::vector<std::vector<std::size_t>> before_ =
      std::vector<std::vector<std::size_t>>(4);  // by stream: what its next work comes after
  std::vector<std::size_t> starts_;
  std::vector<std::size_t> ends_;
  std::vector<std::size_t> events_;
  std::vector<std::size_t> steps_;
  std::size_t last_ = 0;
};

inline SlowTimes slow_times(const std::vector<Command>& program) {
  LongestPaths paths;
  SlowRank rank(&paths);
  for (const Command& command : program) {
    rank.obey(command);
  }
  rank.end();
  return rank.at(paths.times());
}

}  // namespace polyrank
