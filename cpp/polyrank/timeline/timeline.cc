#include <polyrank/timeline/timeline.h>

#include <algorithm>

namespace polyrank {

namespace {

// The later one; `first` if they are at the same time.
TimelineEvent later(const TimelineEvent& first, const TimelineEvent& second) {
  return second.time > first.time ? second : first;
}

}  // namespace

void Timeline::host_works(std::int64_t duration) {
  commands_.push_back({.action = TimelineAction::kHostWorks, .number = duration});
  host_is_busy(duration);
}

WorkNumber Timeline::launch(TimelineStream stream, std::int64_t duration, const WorkFacts& facts,
                            std::int64_t launch_time) {
  commands_.push_back({.action = TimelineAction::kLaunch, .stream = stream});
  hold_host_for_place(stream);
  streams_[stream].queued.push_back(std::ssize(works_));
  const HostLaunch launch = host_launches(launch_time);
  const std::int64_t start = moment_on(stream, launch.end).time;
  const std::int64_t beside = facts.kind == WorkKind::kCompute
                                  ? gpu_.duration(start, duration, facts.use)
                                  : gpu_.communicate(start, duration, facts.use);
  const WorkNumber number = place(stream, beside, facts, launch);
  tell_slowed(number, beside - duration);
  return number;
}

void Timeline::hold_host_for_place(TimelineStream stream) {
  std::deque<WorkNumber>& queued = streams_[stream].queued;
  if (queued.size() == kMostQueuedLaunches) {
    hold_host(placed_end(queued.front()));
    queued.pop_front();
  }
}

HostLaunch Timeline::host_launches(std::int64_t launch_time) {
  const std::int64_t start = host_now_;
  host_is_busy(launch_time);
  return {.start = start, .end = host_moment()};
}

WorkNumber Timeline::place(TimelineStream stream, std::int64_t duration, const WorkFacts& facts,
                           const HostLaunch& launch) {
  const TimelineEvent start = moment_on(stream, launch.end);
  const auto number = static_cast<WorkNumber>(works_.size());
  works_.push_back({.facts = facts,
                    .stream = stream,
                    .launch_start = launch.start,
                    .launch_end = launch.end.time,
                    .start = start.time,
                    .end = start.time + duration,
                    .bound = start.bound});
  streams_[stream].end = {.time = start.time + duration, .bound = {.work = number}};
  return number;
}

// What comes first here is named where several end at once: a busy stream waits for nobody.
TimelineEvent Timeline::moment_on(TimelineStream stream, const TimelineEvent& host) {
  const Stream& on = streams_[stream];
  return later(later(on.end, on.until), host);
}

TimelineEvent Timeline::record(TimelineStream stream) {
  commands_.push_back({.action = TimelineAction::kRecord, .stream = stream});
  return numbered(moment_on(stream, host_moment()));
}

TimelineEvent Timeline::end_of(WorkNumber number) {
  commands_.push_back({.action = TimelineAction::kRecordEnd, .number = number});
  return numbered(placed_end(number));
}

void Timeline::wait(TimelineStream stream, const TimelineEvent& event) {
  commands_.push_back({.action = TimelineAction::kWait, .stream = stream, .number = event.number});
  hold_stream(stream, event);
}

void Timeline::hold_stream(TimelineStream stream, const TimelineEvent& event) {
  Stream& on = streams_[stream];
  on.until = later(on.until, event);
}

void Timeline::host_wait(const TimelineEvent& event) {
  commands_.push_back({.action = TimelineAction::kHostWait, .number = event.number});
  hold_host(event);
}

void Timeline::host_wait_for_all() {
  commands_.push_back({.action = TimelineAction::kHostWaitForAll});
  hold_host(latest());
}

void Timeline::hold_host(const TimelineEvent& event) {
  if (event.time <= host_now_) {
    return;
  }
  host_waits_.push_back({.start = host_now_, .end = event.time, .work = event.bound.work});
  host_now_ = event.time;
  host_since_ = event.time;
  host_waited_for_ = event.bound.work;
}

void Timeline::end_step() {
  commands_.push_back({.action = TimelineAction::kEndStep});
  place_step_end({.time = makespan(), .host_busy = host_busy_});
}

void Timeline::tell_slowed(WorkNumber number, std::int64_t slowed) {
  works_.at(static_cast<std::size_t>(number)).slowed = slowed;
}

void Timeline::tell_waited(WorkNumber number, std::int64_t waited, std::int64_t late_rank) {
  Work& work = works_.at(static_cast<std::size_t>(number));
  work.waited = waited;
  work.late_rank = late_rank;
}

TimelineEvent Timeline::latest() const {
  TimelineEvent latest = host_moment();
  for (const auto& [number, stream] : streams_) {
    // Work that ends when the CPU is there is named before the CPU.
    const TimelineEvent end = later(stream.end, stream.until);
    latest = end.time >= latest.time ? end : latest;
  }
  return latest;
}

}  // namespace polyrank
