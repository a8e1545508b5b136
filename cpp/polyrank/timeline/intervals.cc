#include <polyrank/timeline/intervals.h>

#include <algorithm>
#include <cstddef>

namespace polyrank {

std::vector<Interval> union_of(std::vector<Interval> intervals) {
  std::erase_if(intervals, [](const Interval& one) { return one.start >= one.end; });
  std::ranges::sort(intervals, {}, &Interval::start);
  std::vector<Interval> merged;
  for (const Interval& one : intervals) {
    if (!merged.empty() && one.start <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, one.end);
    } else {
      merged.push_back(one);
    }
  }
  return merged;
}

std::vector<Interval> without(const std::vector<Interval>& whole,
                              const std::vector<Interval>& parts) {
  std::vector<Interval> rest;
  std::size_t next = 0;
  for (const Interval& one : whole) {
    std::int64_t start = one.start;
    while (next < parts.size() && parts[next].end <= start) {
      ++next;
    }
    // The last part may reach into the next interval, so it is looked at again there.
    for (std::size_t i = next; i < parts.size() && parts[i].start < one.end; ++i) {
      if (parts[i].start > start) {
        rest.push_back({start, parts[i].start});
      }
      start = std::max(start, parts[i].end);
    }
    if (start < one.end) {
      rest.push_back({start, one.end});
    }
  }
  return rest;
}

std::int64_t length_of(const std::vector<Interval>& intervals) noexcept {
  std::int64_t length = 0;
  for (const Interval& one : intervals) {
    length += one.end - one.start;
  }
  return length;
}

}  // namespace polyrank
