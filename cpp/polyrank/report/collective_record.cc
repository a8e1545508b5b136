#include <polyrank/report/collective_record.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace polyrank {

namespace {

thread_local std::uint64_t num_launches_of_thread = 0;

void count(const CollectiveLaunch& launch, CollectiveTotals* totals) {
  totals->kind = launch.kind;
  totals->group = launch.group;
  totals->num_groups = launch.num_groups;
  totals->num_launches += 1;
  totals->input_bytes += launch.input_bytes;
  totals->rank_launches += launch.num_groups * launch.group->size();
  totals->num_computed += launch.num_computed;
}

// What is asked of the thread that launches, before the record is locked: a finder may take the
// interpreter's lock.
void add_call_site(bool with_source, TracedLaunch* traced) {
  traced->end_ns = trace_clock_ns();
  const CallSiteFinders& finders = call_site_finders();
  if (with_source && finders.source_line != nullptr) {
    traced->source = finders.source_line();
  }
  if (finders.module_place != nullptr) {
    traced->place = finders.module_place();
  }
  if (traced->launch.start_ns == 0) {
    traced->launch.start_ns = traced->end_ns;
  }
}

}  // namespace

LaunchId CollectiveRecord::launch(CollectiveLaunch launch) {
  ++num_launches_of_thread;
  const bool is_tracing = this->is_tracing();
  TracedLaunch traced;
  traced.launch = std::move(launch);
  if (is_tracing) {
    add_call_site(wants_source_.load(std::memory_order_relaxed), &traced);
  }
  CollectiveLaunch& counted = traced.launch;

  const std::lock_guard lock(mutex_);
  const auto found = groups_.try_emplace(counted.group->name()).first;
  count(counted, &found->second.by_kind[counted.kind]);
  const std::int64_t sequence = found->second.next_sequence++;
  if (!is_tracing || traces_.empty()) {
    return kNotTraced;
  }
  if (counted.sequence == CollectiveLaunch::kNone) {
    counted.sequence = sequence;
  }
  traced.id = ++last_id_;
  for (std::size_t i = 0; i + 1 < traces_.size(); ++i) {
    traces_[i]->add(traced);
  }
  traces_.back()->add(std::move(traced));
  return last_id_;
}

void CollectiveRecord::waited(LaunchId id) {
  if (id == kNotTraced || !is_tracing()) {
    return;
  }
  LaunchWait wait{.time_ns = trace_clock_ns(), .source = {}};
  if (wants_source_.load(std::memory_order_relaxed) && call_site_finders().source_line != nullptr) {
    wait.source = call_site_finders().source_line();
  }
  const std::lock_guard lock(mutex_);
  for (const auto& trace : traces_) {
    trace->add_wait(id, wait);
  }
}

std::uint64_t CollectiveRecord::launches_of_thread() noexcept { return num_launches_of_thread; }

void CollectiveRecord::start(std::shared_ptr<CollectiveTrace> trace) {
  const std::lock_guard lock(mutex_);
  traces_.push_back(std::move(trace));
  count_traces();
}

void CollectiveRecord::stop(const std::shared_ptr<CollectiveTrace>& trace) {
  const std::lock_guard lock(mutex_);
  std::erase(traces_, trace);
  count_traces();
}

void CollectiveRecord::count_traces() {
  num_traces_.store(traces_.size(), std::memory_order_relaxed);
  wants_source_.store(std::any_of(traces_.begin(), traces_.end(),
                                  [](const auto& trace) { return trace->options().with_source; }),
                      std::memory_order_relaxed);
}

std::vector<CollectiveTotals> CollectiveRecord::totals() const {
  std::vector<CollectiveTotals> rows;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, group] : groups_) {
      for (const auto& [kind, totals] : group.by_kind) {
        rows.push_back(totals);
      }
    }
  }
  std::sort(rows.begin(), rows.end(), [](const CollectiveTotals& a, const CollectiveTotals& b) {
    return std::tie(a.group->label(), a.group->name(), a.kind) <
           std::tie(b.group->label(), b.group->name(), b.kind);
  });
  return rows;
}

void CollectiveRecord::reset() {
  const std::lock_guard lock(mutex_);
  groups_.clear();
}

void CollectiveRecord::restart_sequences() {
  const std::lock_guard lock(mutex_);
  for (auto& [name, group] : groups_) {
    group.next_sequence = 0;
  }
}

std::int64_t CollectiveRecord::next_sequence(const Group& group) const {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.find(group.name());
  return found == groups_.end() ? 0 : found->second.next_sequence;
}

CollectiveRecord& collective_record() {
  static CollectiveRecord record;
  return record;
}

}  // namespace polyrank
