#include <polyrank/timeline/timeline.h>

#include <algorithm>

namespace polyrank {

namespace {

// The later one; `first` if they are at the same time.
TimelineEvent later(const TimelineEvent& first, const TimelineEvent& second) {
  return second.time > first.time ? second : first;
}

}  // namespace

WorkNumber Timeline::launch(TimelineStream stream, std::int64_t duration, const WorkFacts& facts,
                            std::int64_t launch_time) {
  const std::int64_t launch_start = host_now_;
  host_works(launch_time);
  Stream& on = streams_[stream];
  // What comes first here is named where several end at once: a busy stream waits for nobody.
  const TimelineEvent start =
      later(later(on.end, on.until), {.time = host_now_, .bound = host_bound()});
  const auto number = static_cast<WorkNumber>(works_.size());
  works_.push_back({.facts = facts,
                    .stream = stream,
                    .launch_start = launch_start,
                    .launch_end = host_now_,
                    .start = start.time,
                    .end = start.time + duration,
                    .bound = start.bound});
  on.end = {.time = start.time + duration, .bound = {.work = number}};
  return number;
}

TimelineEvent Timeline::record(TimelineStream stream) {
  const Stream& on = streams_[stream];
  return later(later(on.end, on.until), {.time = host_now_, .bound = host_bound()});
}

void Timeline::wait(TimelineStream stream, const TimelineEvent& event) {
  Stream& on = streams_[stream];
  on.until = later(on.until, event);
}

void Timeline::host_wait(const TimelineEvent& event) {
  if (event.time <= host_now_) {
    return;
  }
  host_waits_.push_back({.start = host_now_, .end = event.time, .work = event.bound.work});
  host_now_ = event.time;
  host_since_ = event.time;
  host_waited_for_ = event.bound.work;
}

void Timeline::host_wait_for_all() { host_wait(latest()); }

TimelineEvent Timeline::latest() const {
  TimelineEvent latest{.time = host_now_, .bound = host_bound()};
  for (const auto& [number, stream] : streams_) {
    // Work that ends when the CPU is there is named before the CPU.
    const TimelineEvent end = later(stream.end, stream.until);
    latest = end.time >= latest.time ? end : latest;
  }
  return latest;
}

}  // namespace polyrank
