#include <polyrank/timeline/time_report.h>

#include <algorithm>
#include <cmath>

namespace polyrank {

namespace {

std::int64_t overlap(std::int64_t start, std::int64_t end, const Interval& stretch) {
  return std::max<std::int64_t>(0, std::min(end, stretch.end) - std::max(start, stretch.start));
}

// Communication that stands still until the last rank comes is idleness, not communication.
std::int64_t begin_of(const Work& work) { return work.start + work.waited; }

std::vector<Interval> cut(const std::vector<Interval>& intervals, const Interval& stretch) {
  std::vector<Interval> inside;
  for (const Interval& one : intervals) {
    if (overlap(one.start, one.end, stretch) > 0) {
      inside.push_back({std::max(one.start, stretch.start), std::min(one.end, stretch.end)});
    }
  }
  return inside;
}

std::vector<Interval> of_kind(const Timeline& timeline, WorkKind kind) {
  std::vector<Interval> intervals;
  for (const Work& work : timeline.works()) {
    if (work.facts.kind == kind) {
      intervals.push_back({begin_of(work), work.end});
    }
  }
  return union_of(std::move(intervals));
}

void add(const Work& work, std::int64_t inside, double share, WorkSum* sum) {
  sum->count += 1;
  sum->flops += work.facts.flops * share;
  if (work.facts.kind == WorkKind::kCommunication) {
    sum->communication += inside;
  } else {
    sum->compute += inside;
  }
}

// By group, module and name: the communication that nothing covers.
class Exposed {
 public:
  void add(const Work& work, const Interval& inside) {
    by_group_[work.facts.group].push_back(inside);
    by_module_[work.facts.module].push_back(inside);
    by_name_[work.facts.name].push_back(inside);
  }

  void finish(const std::vector<Interval>& compute, TimeReport* report) {
    finish(std::move(by_group_), compute, &report->by_group);
    finish(std::move(by_module_), compute, &report->by_module);
    finish(std::move(by_name_), compute, &report->by_name);
  }

 private:
  using ByText = std::map<std::string_view, std::vector<Interval>>;

  static void finish(ByText intervals, const std::vector<Interval>& compute, SumsByText* sums) {
    for (auto& [text, all] : intervals) {
      (*sums)[text].exposed = length_of(without(union_of(std::move(all)), compute));
    }
  }

  ByText by_group_;
  ByText by_module_;
  ByText by_name_;
};

}  // namespace

TimeReports::TimeReports(const Timeline& timeline)
    : timeline_(timeline),
      compute_(of_kind(timeline, WorkKind::kCompute)),
      communication_(of_kind(timeline, WorkKind::kCommunication)),
      idle_(idle_times(timeline)) {}

TimeReport TimeReports::report(std::int64_t start, std::int64_t end) const {
  const Interval stretch{start, end};
  const std::vector<Interval> compute = cut(compute_, stretch);
  const std::vector<Interval> communication = cut(communication_, stretch);
  TimeReport report{.start = start, .end = end};
  report.compute = length_of(compute);
  report.communication = length_of(communication);
  report.exposed = length_of(without(communication, compute));
  for (const IdleTime& idle : idle_) {
    if (const std::int64_t inside = overlap(idle.start, idle.end, stretch); inside > 0) {
      report.idle[{idle.cause, idle.group}] += inside;
    }
  }
  Exposed exposed;
  double slowed = 0;
  for (const Work& work : timeline_.works()) {
    const std::int64_t begin = begin_of(work);
    const std::int64_t inside = overlap(begin, work.end, stretch);
    if (inside == 0) {
      continue;
    }
    const double share = static_cast<double>(inside) / static_cast<double>(work.end - begin);
    report.flops += work.facts.flops * share;
    report.roofline += work.facts.roofline * share;
    if (work.facts.kind == WorkKind::kCompute) {
      slowed += static_cast<double>(work.slowed) * share;
    }
    report.recomputed_flops += work.facts.recomputed_flops * share;
    add(work, inside, share, &report.by_module[work.facts.module]);
    add(work, inside, share, &report.by_name[work.facts.name]);
    if (work.facts.kind == WorkKind::kCommunication) {
      add(work, inside, share, &report.by_group[work.facts.group]);
      exposed.add(work, {std::max(begin, start), std::min(work.end, end)});
    }
  }
  exposed.finish(compute, &report);
  report.slowed = std::llround(slowed);
  return report;
}

std::vector<TimeReport> TimeReports::steps() const {
  std::vector<TimeReport> steps;
  StepEnd last{.time = 0, .host_busy = 0};
  for (const StepEnd& end : timeline_.step_ends()) {
    steps.push_back(report(last.time, end.time));
    steps.back().host_busy = end.host_busy - last.host_busy;
    last = end;
  }
  return steps;
}

TimeReport TimeReports::whole() const {
  TimeReport all = report(0, timeline_.makespan());
  all.host_busy = timeline_.host_busy();
  return all;
}

}  // namespace polyrank
