#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/timeline/joint_replay.h>
#include <polyrank/timeline/meetings.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <utility>

namespace polyrank {

namespace {

constexpr std::size_t kMostTold = 8;  // waits that an error names

// One rank: its CPU in the list of commands, and what waits on its streams.
class RankReplay {
 public:
  // `index`: of the rank among those that are replayed.
  RankReplay(const RankRecording& recording, std::size_t index, double slowness, Meetings* meetings)
      : recording_(recording),
        index_(index),
        slowness_(slowness),
        meetings_(meetings),
        placed_(recording.works.size()),
        num_launched_(recording.series.size()) {}

  // Goes on as far as it can; adds the meetings that are complete by it to `complete`.
  void run(std::vector<ReplayedMeeting*>* complete) {
    for (bool goes_on = true; goes_on;) {
      goes_on = run_host();
      for (auto& [stream, queue] : queues_) {
        goes_on = run_stream(stream, &queue, complete) || goes_on;
      }
    }
  }

  // All have come to a meeting that stands at the head of a stream.
  void meet(const ReplayedMeeting& meeting) {
    for (auto& [stream, queue] : queues_) {
      if (!queue.empty() && queue.front().meeting == &meeting) {
        const Item item = queue.front();
        queue.pop_front();
        const ReplayedArrival& last = meeting.last();
        const std::int64_t start = timeline_.moment_on(stream, item.launch.end).time;
        const std::int64_t waited = last.start - start;
        const WorkNumber work = place(stream, item, waited + meeting.cost());
        if (waited > 0) {
          timeline_.tell_waited(work, waited, last.rank);
        }
        return;
      }
    }
  }

  bool is_done() const {
    return next_ == recording_.commands.size() &&
           std::ranges::all_of(queues_, [](const auto& one) { return one.second.empty(); });
  }

  // Meetings at which it stands.
  std::vector<const ReplayedMeeting*> stands_at() const {
    std::vector<const ReplayedMeeting*> found;
    for (const auto& [stream, queue] : queues_) {
      if (!queue.empty() && queue.front().has_arrived) {
        found.push_back(queue.front().meeting);
      }
    }
    return found;
  }

  std::int64_t rank() const noexcept { return recording_.rank; }

  // Requires: is_done()
  Timeline take() {
    for (const Step& step : steps_) {
      std::int64_t end = step.host;
      for (const std::size_t event : step.events) {
        end = std::max(end, moment_of(event).value_or(TimelineEvent()).time);
      }
      timeline_.place_step_end({.time = end, .host_busy = step.host_busy});
    }
    return std::move(timeline_);
  }

 private:
  // What a stream has still to do.
  struct Item {
    TimelineAction action;  // kLaunch, kRecord or kWait
    std::size_t number;     // of the work, or of the event
    HostLaunch launch;      // of a record: where the CPU is
    ReplayedMeeting* meeting = nullptr;
    bool has_arrived = false;
  };
  using Queue = std::deque<Item>;

  struct Event {
    std::optional<std::size_t> work = std::nullopt;  // whose end it is
    std::optional<TimelineEvent> moment = std::nullopt;
  };

  struct Step {
    std::int64_t host;
    std::int64_t host_busy;
    std::vector<std::size_t> events;  // the ends of the streams
  };

  std::optional<TimelineEvent> moment_of(std::size_t event) const {
    const Event& one = events_.at(event);
    if (!one.work) {
      return one.moment;
    }
    const std::optional<WorkNumber>& work = placed_.at(*one.work);
    return work ? std::optional(timeline_.placed_end(*work)) : std::nullopt;
  }

  std::size_t event_of(const TimelineCommand& command) const {
    const auto number = static_cast<std::size_t>(command.number);
    if (command.number < 0 || number >= numbered_.size()) {
      throw UsageError(str_cat("the list of rank ", rank(), " waits for event ", command.number,
                               ", which it has not recorded"));
    }
    return numbered_[number];
  }

  WorkNumber place(TimelineStream stream, const Item& item, std::int64_t duration) {
    const Work& recorded = recording_.works[item.number];
    const WorkNumber work = timeline_.place(stream, duration, recorded.facts, item.launch);
    timeline_.tell_slowed(work, recorded.slowed);
    placed_[item.number] = work;
    return work;
  }

  // How long the work takes when all have come.
  std::int64_t cost_of(const Work& work) const {
    const std::int64_t time = work.end - work.start;
    return work.facts.kind == WorkKind::kCompute
               ? std::llround(static_cast<double>(time) * slowness_)
               : time;
  }

  void queue_launch() {
    if (num_works_ == recording_.works.size()) {
      throw UsageError(str_cat("the list of rank ", rank(), " launches more works than it has"));
    }
    const std::size_t number = num_works_++;
    const Work& work = recording_.works[number];
    Item item{.action = TimelineAction::kLaunch,
              .number = number,
              .launch = timeline_.host_launches(work.launch_end - work.launch_start)};
    if (work.facts.series != WorkFacts::kAlone) {
      const auto series = static_cast<std::size_t>(work.facts.series);
      item.meeting = meetings_->find(recording_.series.at(series), num_launched_.at(series)++);
    }
    queues_[work.stream].push_back(item);
    launched_[work.stream].push_back(number);
  }

  std::size_t queue_record(Queue* queue) {
    events_.emplace_back();
    queue->push_back({.action = TimelineAction::kRecord,
                      .number = events_.size() - 1,
                      .launch = {.start = 0, .end = timeline_.host_moment()}});
    return events_.size() - 1;
  }

  void queue_step_end() {
    Step step{.host = timeline_.host_now(), .host_busy = timeline_.host_busy(), .events = {}};
    for (auto& [stream, queue] : queues_) {
      step.events.push_back(queue_record(&queue));
    }
    steps_.push_back(std::move(step));
  }

  // Whether the stream has a place for one more launch (kMostQueuedLaunches).
  bool has_place(TimelineStream stream) {
    std::deque<std::size_t>& launched = launched_[stream];
    if (launched.size() < kMostQueuedLaunches) {
      return true;
    }
    const std::optional<WorkNumber>& oldest = placed_.at(launched.front());
    if (!oldest) {
      return false;
    }
    timeline_.hold_host(timeline_.placed_end(*oldest));
    launched.pop_front();
    return true;
  }

  // Whether the CPU goes on from a wait.
  bool host_is_free(const TimelineCommand& command) {
    if (command.action == TimelineAction::kHostWaitForAll) {
      if (std::ranges::any_of(queues_, [](const auto& one) { return !one.second.empty(); })) {
        return false;
      }
      timeline_.hold_host(timeline_.latest());
    } else if (command.number != TimelineEvent::kUnnumbered) {
      const std::optional<TimelineEvent> moment = moment_of(event_of(command));
      if (!moment) {
        return false;
      }
      timeline_.hold_host(*moment);
    }
    return true;
  }

  // Requires: the command is none that the CPU waits at
  void obey(const TimelineCommand& command) {
    switch (command.action) {
      case TimelineAction::kHostWorks:
        timeline_.host_is_busy(command.number);
        break;
      case TimelineAction::kLaunch:
        queue_launch();
        break;
      case TimelineAction::kRecord:
        numbered_.push_back(queue_record(&queues_[command.stream]));
        break;
      case TimelineAction::kRecordEnd:
        numbered_.push_back(events_.size());
        events_.push_back({.work = static_cast<std::size_t>(command.number)});
        break;
      case TimelineAction::kWait:
        if (command.number != TimelineEvent::kUnnumbered) {
          queues_[command.stream].push_back(
              {.action = TimelineAction::kWait, .number = event_of(command), .launch = {}});
        }
        break;
      case TimelineAction::kEndStep:
        queue_step_end();
        break;
      case TimelineAction::kHostWait:
      case TimelineAction::kHostWaitForAll:
        break;
    }
  }

  bool run_host() {
    const std::size_t before = next_;
    for (; next_ < recording_.commands.size(); ++next_) {
      const TimelineCommand& command = recording_.commands[next_];
      const bool waits = command.action == TimelineAction::kHostWait ||
                         command.action == TimelineAction::kHostWaitForAll;
      const bool launches = command.action == TimelineAction::kLaunch;
      if ((waits && !host_is_free(command)) || (launches && !has_place(command.stream))) {
        break;
      }
      obey(command);
    }
    return next_ != before;
  }

  bool run_stream(TimelineStream stream, Queue* queue, std::vector<ReplayedMeeting*>* complete) {
    bool goes_on = false;
    while (!queue->empty() && is_over(stream, &queue->front(), complete)) {
      queue->pop_front();
      goes_on = true;
    }
    return goes_on;
  }

  // Whether the head of a stream's queue is done with.
  bool is_over(TimelineStream stream, Item* item, std::vector<ReplayedMeeting*>* complete) {
    switch (item->action) {
      case TimelineAction::kRecord:
        events_[item->number].moment = timeline_.moment_on(stream, item->launch.end);
        return true;
      case TimelineAction::kWait: {
        const std::optional<TimelineEvent> moment = moment_of(item->number);
        if (moment) {
          timeline_.hold_stream(stream, *moment);
        }
        return moment.has_value();
      }
      default:
        break;
    }
    const std::int64_t cost = cost_of(recording_.works[item->number]);
    if (item->meeting == nullptr) {
      place(stream, *item, cost);
      return true;
    }
    if (!std::exchange(item->has_arrived, true)) {
      item->meeting->arrivals.push_back(
          {.rank = rank(),
           .index = index_,
           .start = timeline_.moment_on(stream, item->launch.end).time,
           .cost = cost});
      if (item->meeting->is_complete()) {
        complete->push_back(item->meeting);
      }
    }
    return false;
  }

  const RankRecording& recording_;
  std::size_t index_;
  double slowness_;
  Meetings* meetings_;
  Timeline timeline_;
  std::size_t next_ = 0;  // command
  std::size_t num_works_ = 0;
  std::vector<std::optional<WorkNumber>> placed_;  // by the number of the launch
  std::vector<std::size_t> num_launched_;          // by series
  std::vector<Event> events_;
  std::vector<std::size_t> numbered_;  // index into events_ of those that commands name
  std::vector<Step> steps_;
  std::map<TimelineStream, Queue> queues_;
  std::map<TimelineStream, std::deque<std::size_t>> launched_;  // the last of each stream
};

std::string who_waits(const std::vector<std::unique_ptr<RankReplay>>& ranks) {
  std::string text;
  std::size_t told = 0;
  for (const auto& rank : ranks) {
    for (const ReplayedMeeting* meeting : rank->stands_at()) {
      if (++told > kMostTold) {
        return text + "\n  …";
      }
      text += str_cat("\n  rank ", rank->rank(), " stands at number ", meeting->number, " of the ",
                      meeting->label, ", to which ");
      std::string missing;
      for (const std::int64_t member : meeting->members) {
        if (!meeting->has(member)) {
          missing += str_cat(missing.empty() ? "rank " : ", rank ", member);
        }
      }
      text += missing + " does not come";
    }
  }
  return text;
}

void check(const std::vector<RankRecording>& recordings, const SlowRanks& slow) {
  std::set<std::int64_t> ranks;
  for (const RankRecording& recording : recordings) {
    if (!ranks.insert(recording.rank).second) {
      throw UsageError(str_cat("rank ", recording.rank, " is to be replayed twice"));
    }
  }
  for (const auto& [rank, factor] : slow) {
    if (!ranks.contains(rank)) {
      throw UsageError(str_cat("rank ", rank, " is to be slow, and is not replayed"));
    }
    if (!(factor > 0) || !std::isfinite(factor)) {
      throw UsageError(str_cat("rank ", rank, " is to be slower by a factor of ", factor,
                               ", which is no positive number"));
    }
  }
}

}  // namespace

std::vector<Timeline> replay_together(const std::vector<RankRecording>& recordings,
                                      const SlowRanks& slow) {
  check(recordings, slow);
  std::set<std::int64_t> numbers;
  for (const RankRecording& recording : recordings) {
    numbers.insert(recording.rank);
  }
  Meetings meetings(std::move(numbers));
  std::vector<std::unique_ptr<RankReplay>> ranks;
  std::vector<ReplayedMeeting*> complete;
  for (const RankRecording& recording : recordings) {
    const auto factor = slow.find(recording.rank);
    ranks.push_back(std::make_unique<RankReplay>(
        recording, ranks.size(), factor == slow.end() ? 1.0 : factor->second, &meetings));
  }
  for (const auto& rank : ranks) {
    rank->run(&complete);
  }
  while (!complete.empty()) {
    const ReplayedMeeting* meeting = complete.back();
    complete.pop_back();
    // Members must all be told before one goes on: starts are of before the meeting.
    for (const ReplayedArrival& arrival : meeting->arrivals) {
      ranks[arrival.index]->meet(*meeting);
    }
    for (const ReplayedArrival& arrival : meeting->arrivals) {
      ranks[arrival.index]->run(&complete);
    }
  }
  if (!std::ranges::all_of(ranks, [](const auto& rank) { return rank->is_done(); })) {
    throw DeadlockError(str_cat("ranks wait for what never comes, in what was recorded of them:",
                                who_waits(ranks)));
  }
  std::vector<Timeline> timelines;
  timelines.reserve(ranks.size());
  for (const auto& rank : ranks) {
    timelines.push_back(rank->take());
  }
  return timelines;
}

}  // namespace polyrank
