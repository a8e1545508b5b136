#include <polyrank/collective/cost_model.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/report/collective_trace.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace polyrank {

namespace {

std::int64_t total_bytes(const std::vector<TensorRun>& runs) {
  std::int64_t bytes = 0;
  for (const TensorRun& run : runs) {
    bytes += run.nbytes;
  }
  return bytes;
}

}  // namespace

std::int64_t trace_clock_ns() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

CallSiteFinders& call_site_finders() noexcept {
  static CallSiteFinders finders;
  return finders;
}

std::string text_of(const SourceLine& line) {
  if (line.file.empty()) {
    return {};
  }
  std::string text(line.file);  // without a stream, which costs more than the rest of a launch
  text += ':';
  text += std::to_string(line.line);
  return text;
}

std::string source_line_text() {
  const auto find_line = call_site_finders().source_line;
  return find_line == nullptr ? std::string() : text_of(find_line());
}

bool is_launched_by_library() {
  const auto is_in_library = call_site_finders().is_in_library;
  return is_in_library != nullptr && is_in_library();
}

std::int64_t TracedLaunch::payload_bytes() const {
  return polyrank::payload_bytes(launch.kind, launch.group->size(), total_bytes(launch.inputs),
                                 total_bytes(launch.outputs));
}

std::int64_t TracedLaunch::wire_bytes() const {
  return usual_wire_bytes(launch.kind, launch.group->size(), payload_bytes());
}

CollectiveTrace::CollectiveTrace(TraceOptions options)
    : options_(options), start_ns_(trace_clock_ns()) {}

void CollectiveTrace::add(TracedLaunch launch) {
  const std::lock_guard lock(mutex_);
  launches_.push_back(std::move(launch));
}

void CollectiveTrace::add_wait(LaunchId id, const LaunchWait& wait) {
  const std::lock_guard lock(mutex_);
  const auto found = std::lower_bound(
      launches_.begin(), launches_.end(), id,
      [](const TracedLaunch& launch, LaunchId wanted) { return launch.id < wanted; });
  if (found != launches_.end() && found->id == id && !found->wait) {
    found->wait = wait;
  }
}

std::size_t CollectiveTrace::size() const {
  const std::lock_guard lock(mutex_);
  return launches_.size();
}

std::vector<TracedLaunch> CollectiveTrace::launches() const {
  const std::lock_guard lock(mutex_);
  return {launches_.begin(), launches_.end()};
}

}  // namespace polyrank
