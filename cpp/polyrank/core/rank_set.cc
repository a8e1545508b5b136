#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>
#include <utility>

namespace polyrank {

struct RankSet::Rep {
  std::vector<RankRange> ranges;
  std::vector<std::int64_t> size_before;  // per range: number of ranks in the ranges before it
  std::int64_t size = 0;
  std::size_t hash = 0;
};

namespace {

// Appends ranges in ascending order and joins those that touch or overlap.
class RangeBuilder {
 public:
  void add(RankRange range) {
    if (range.begin >= range.end) {
      return;
    }
    if (!ranges_.empty() && ranges_.back().end >= range.begin) {
      ranges_.back().end = std::max(ranges_.back().end, range.end);
    } else {
      ranges_.push_back(range);
    }
  }
  std::vector<RankRange> take() { return std::move(ranges_); }

 private:
  std::vector<RankRange> ranges_;
};

}  // namespace

RankSet::RankSet() {
  static const auto empty = std::make_shared<const Rep>();
  rep_ = empty;
}

RankSet::RankSet(std::vector<RankRange> ranges) {
  auto rep = std::make_shared<Rep>();
  rep->ranges = std::move(ranges);
  rep->size_before.reserve(rep->ranges.size());
  for (const RankRange& range : rep->ranges) {
    rep->size_before.push_back(rep->size);
    rep->size += range.end - range.begin;
    rep->hash = rep->hash * 1000003U + static_cast<std::size_t>(range.begin) * 31U +
                static_cast<std::size_t>(range.end);
  }
  rep_ = std::move(rep);
}

RankSet RankSet::range(std::int64_t begin, std::int64_t end) {
  if (end <= begin) {
    return {};
  }
  if (begin < 0) {
    throw UsageError(str_cat("ranks are counted from 0; got rank ", begin));
  }
  return RankSet(std::vector<RankRange>{{begin, end}});
}

RankSet RankSet::of(std::span<const std::int64_t> ranks) {
  std::vector<std::int64_t> sorted(ranks.begin(), ranks.end());
  std::sort(sorted.begin(), sorted.end());
  if (!sorted.empty() && sorted.front() < 0) {
    throw UsageError(str_cat("ranks are counted from 0; got rank ", sorted.front()));
  }
  RangeBuilder builder;
  for (const std::int64_t rank : sorted) {
    builder.add({rank, rank + 1});
  }
  return RankSet(builder.take());
}

std::int64_t RankSet::size() const noexcept { return rep_->size; }

std::span<const RankRange> RankSet::ranges() const noexcept { return rep_->ranges; }

bool RankSet::contains(std::int64_t rank) const noexcept {
  const auto& ranges = rep_->ranges;
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), rank,
      [](std::int64_t value, const RankRange& range) { return value < range.begin; });
  return after != ranges.begin() && rank < std::prev(after)->end;
}

std::int64_t RankSet::rank_at(std::int64_t index) const {
  if (index < 0 || index >= size()) {
    throw UsageError(str_cat("no rank at position ", index, " of ranks ", to_string(),
                             "; valid: 0..", size() - 1));
  }
  const auto& before = rep_->size_before;
  const auto after = std::upper_bound(before.begin(), before.end(), index);
  const auto range = static_cast<std::size_t>(after - before.begin() - 1);
  return rep_->ranges[range].begin + (index - before[range]);
}

std::int64_t RankSet::index_of(std::int64_t rank) const {
  const auto& ranges = rep_->ranges;
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), rank,
      [](std::int64_t value, const RankRange& range) { return value < range.begin; });
  if (after == ranges.begin() || rank >= std::prev(after)->end) {
    throw UsageError(str_cat("rank ", rank, " is not among ranks ", to_string()));
  }
  const auto range = static_cast<std::size_t>(after - ranges.begin() - 1);
  return rep_->size_before[range] + (rank - ranges[range].begin);
}

std::int64_t RankSet::min() const { return rank_at(0); }

std::int64_t RankSet::max() const { return rank_at(size() - 1); }

RankSet RankSet::unite(const RankSet& other) const {
  if (rep_ == other.rep_ || other.empty()) {
    return *this;
  }
  std::vector<RankRange> all(rep_->ranges);
  all.insert(all.end(), other.rep_->ranges.begin(), other.rep_->ranges.end());
  std::sort(all.begin(), all.end(),
            [](const RankRange& a, const RankRange& b) { return a.begin < b.begin; });
  RangeBuilder builder;
  for (const RankRange& range : all) {
    builder.add(range);
  }
  return RankSet(builder.take());
}

RankSet RankSet::intersect(const RankSet& other) const {
  RangeBuilder builder;
  auto a = rep_->ranges.begin();
  auto b = other.rep_->ranges.begin();
  while (a != rep_->ranges.end() && b != other.rep_->ranges.end()) {
    builder.add({std::max(a->begin, b->begin), std::min(a->end, b->end)});
    if (a->end < b->end) {
      ++a;
    } else {
      ++b;
    }
  }
  return RankSet(builder.take());
}

RankSet RankSet::subtract(const RankSet& other) const {
  RangeBuilder builder;
  auto b = other.rep_->ranges.begin();
  for (RankRange rest : rep_->ranges) {
    while (b != other.rep_->ranges.end() && b->end <= rest.begin) {
      ++b;
    }
    for (auto cut = b; cut != other.rep_->ranges.end() && cut->begin < rest.end; ++cut) {
      builder.add({rest.begin, cut->begin});
      rest.begin = std::max(rest.begin, cut->end);
    }
    builder.add(rest);
  }
  return RankSet(builder.take());
}

bool RankSet::is_subset_of(const RankSet& other) const {
  return std::all_of(rep_->ranges.begin(), rep_->ranges.end(), [&](const RankRange& range) {
    const auto& ranges = other.rep_->ranges;
    const auto after = std::upper_bound(
        ranges.begin(), ranges.end(), range.begin,
        [](std::int64_t value, const RankRange& candidate) { return value < candidate.begin; });
    return after != ranges.begin() && range.end <= std::prev(after)->end;
  });
}

std::vector<std::int64_t> RankSet::to_vector() const { return {begin(), end()}; }

std::string RankSet::to_string(std::size_t max_ranges) const {
  std::ostringstream out;
  for (std::size_t i = 0; i < rep_->ranges.size(); ++i) {
    out << (i == 0 ? "" : ",");
    if (i == max_ranges) {
      out << "… (" << size() << " ranks)";
      break;
    }
    const RankRange& range = rep_->ranges[i];
    out << range.begin;
    if (range.end - range.begin > 1) {
      out << "-" << range.end - 1;
    }
  }
  return out.str();
}

bool RankSet::operator==(const RankSet& other) const noexcept {
  return rep_ == other.rep_ ||
         (rep_->hash == other.rep_->hash && rep_->ranges == other.rep_->ranges);
}

std::size_t RankSet::hash() const noexcept { return rep_->hash; }

RankSet::Iterator RankSet::begin() const {
  const auto& ranges = rep_->ranges;
  return {ranges.data(), ranges.data() + ranges.size()};
}

RankSet::Iterator RankSet::end() const {
  const auto& ranges = rep_->ranges;
  return {ranges.data() + ranges.size(), ranges.data() + ranges.size()};
}

}  // namespace polyrank
