// Who has come to communication of ranks that are replayed together.
#pragma once

#include <polyrank/timeline/joint_replay.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

// A rank stands at a meeting.
struct ReplayedArrival {
  std::int64_t rank;
  std::size_t index;  // of the rank among those that are replayed
  std::int64_t start;
  std::int64_t cost;  // that it says the communication has
};

// One launch of a series, on all ranks that are replayed.
struct ReplayedMeeting {
  std::int64_t number;                // in its series, from 1 on
  std::string label;                  // of the series
  std::vector<std::int64_t> members;  // that are replayed
  std::vector<ReplayedArrival> arrivals = {};

  bool is_complete() const noexcept { return arrivals.size() == members.size(); }
  bool has(std::int64_t rank) const {
    return std::ranges::any_of(arrivals,
                               [&](const ReplayedArrival& one) { return one.rank == rank; });
  }
  // The one that came last; of several the first that came here. Requires: somebody has come
  const ReplayedArrival& last() const {
    return *std::ranges::max_element(arrivals, {}, &ReplayedArrival::start);
  }
  std::int64_t cost() const { return std::ranges::max(arrivals, {}, &ReplayedArrival::cost).cost; }
};

// All meetings, by series.
class Meetings {
 public:
  // `ranks`: those that are replayed.
  explicit Meetings(std::set<std::int64_t> ranks) : ranks_(std::move(ranks)) {}

  // The `number`-th of a series, from 0 on, which stays where it is; null if only one of the
  // series' ranks is replayed.
  ReplayedMeeting* find(const MeetingSeries& series, std::size_t number) {
    Series& of = series_[{series.name, series.ranks}];
    if (of.members.empty()) {
      std::ranges::copy_if(series.ranks, std::back_inserter(of.members),
                           [&](std::int64_t rank) { return ranks_.contains(rank); });
    }
    if (of.members.size() <= 1) {
      return nullptr;
    }
    while (of.meetings.size() <= number) {
      of.meetings.push_back(std::make_unique<ReplayedMeeting>(ReplayedMeeting{
          .number = std::ssize(of.meetings) + 1, .label = series.label, .members = of.members}));
    }
    return of.meetings[number].get();
  }

 private:
  struct Series {
    std::vector<std::int64_t> members;
    std::vector<std::unique_ptr<ReplayedMeeting>> meetings;
  };

  std::set<std::int64_t> ranks_;
  std::map<std::pair<std::string, std::vector<std::int64_t>>, Series> series_;
};

}  // namespace polyrank
