#include <polyrank/core/interned.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/timeline/idle_time.h>
#include <polyrank/timeline/intervals.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace polyrank {

namespace {

IdleCause cause_of(WorkKind kind) {
  return kind == WorkKind::kCommunication ? IdleCause::kCommunication : IdleCause::kCopy;
}

// Goes back from `until`, the bound of what ends a time without computing, to that time's start.
void go_back(const Timeline& timeline, std::int64_t start, TimelineEvent until,
             std::vector<IdleTime>* found) {
  while (until.time > start) {
    const Bound& bound = until.bound;
    if (bound.work == Bound::kHost) {
      const std::int64_t from = std::max(start, bound.host_since);
      if (from < until.time) {
        found->push_back({.start = from, .end = until.time, .cause = IdleCause::kHost});
      }
      until = {.time = from, .bound = {.work = bound.host_waited_for}};
      continue;
    }
    const Work& work = timeline.works()[static_cast<std::size_t>(bound.work)];
    const std::int64_t met = std::max(start, work.start + work.waited);
    if (met < until.time) {
      found->push_back({.start = met,
                        .end = until.time,
                        .cause = cause_of(work.facts.kind),
                        .group = work.facts.group});
    }
    const std::int64_t from = std::max(start, work.start);
    if (from < met) {
      found->push_back({.start = from,
                        .end = std::min(met, until.time),
                        .cause = IdleCause::kLateness,
                        .group = interned(str_cat("rank ", work.late_rank))});
    }
    until = {.time = from, .bound = work.bound};
  }
}

}  // namespace

std::string_view to_string(IdleCause cause) noexcept {
  constexpr std::array<std::string_view, 4> names{"the CPU", "communication", "copies", "lateness"};
  return names.at(static_cast<std::size_t>(cause));
}

std::vector<IdleTime> idle_times(const Timeline& timeline) {
  std::vector<const Work*> computing;
  for (const Work& work : timeline.works()) {
    if (work.facts.kind == WorkKind::kCompute && work.start < work.end) {
      computing.push_back(&work);
    }
  }
  std::ranges::sort(computing, {}, &Work::start);
  std::vector<IdleTime> found;
  std::int64_t busy_until = 0;
  for (const Work* work : computing) {
    go_back(timeline, busy_until, {.time = work->start, .bound = work->bound}, &found);
    busy_until = std::max(busy_until, work->end);
  }
  go_back(timeline, busy_until, timeline.latest(), &found);
  std::ranges::sort(found, {}, &IdleTime::start);
  return found;
}

}  // namespace polyrank
