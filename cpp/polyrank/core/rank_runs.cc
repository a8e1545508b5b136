#include <polyrank/core/errors.h>
#include <polyrank/core/rank_runs.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>

namespace polyrank {

namespace {

std::int64_t last_of(const RankRun& run) { return run.first + (run.count - 1) * run.step; }

std::string text_of(const RankRun& run) {
  if (run.count == 1) {
    return str_cat(run.first);
  }
  if (run.count == 2 && run.step != 1) {
    return str_cat(run.first, ",", last_of(run));
  }
  const std::string range = str_cat(run.first, "-", last_of(run));
  return run.step == 1 ? range : str_cat(range, " step ", run.step);
}

// The longest run that starts at `ranks`. Two ranks that are no neighbours are not worth a step:
// they may belong to runs of their own.
RankRun run_at(std::span<const std::int64_t> ranks) {
  RankRun run{.first = ranks[0], .count = 1, .step = 1};
  if (ranks.size() == 1) {
    return run;
  }
  const std::int64_t step = ranks[1] - ranks[0];
  std::size_t count = 2;
  while (count < ranks.size() && ranks[count] - ranks[count - 1] == step) {
    ++count;
  }
  if (step == 1 || count > 2) {
    run.count = static_cast<std::int64_t>(count);
    run.step = step;
  }
  return run;
}

}  // namespace

RankRuns RankRuns::of_run(const RankRun& run) {
  RankRuns result;
  if (run.count > 0) {
    if (std::min(run.first, last_of(run)) < 0) {
      throw UsageError(str_cat("ranks are not negative; got ", text_of(run), "."));
    }
    result.runs_.push_back(run.count == 1 ? RankRun{run.first, 1, 1} : run);
  }
  return result;
}

RankRuns RankRuns::of(std::span<const std::int64_t> ranks) {
  const auto negative =
      std::find_if(ranks.begin(), ranks.end(), [](auto rank) { return rank < 0; });
  if (negative != ranks.end()) {
    throw UsageError(str_cat("ranks are not negative; got ", *negative, "."));
  }
  RankRuns result;
  while (!ranks.empty()) {
    result.runs_.push_back(run_at(ranks));
    ranks = ranks.subspan(static_cast<std::size_t>(result.runs_.back().count));
  }
  return result;
}

std::int64_t RankRuns::size() const noexcept {
  std::int64_t size = 0;
  for (const RankRun& run : runs_) {
    size += run.count;
  }
  return size;
}

std::vector<std::int64_t> RankRuns::to_vector() const {
  std::vector<std::int64_t> ranks;
  for (const RankRun& run : runs_) {
    for (std::int64_t i = 0; i < run.count; ++i) {
      ranks.push_back(run.first + i * run.step);
    }
  }
  return ranks;
}

std::string RankRuns::to_string(std::size_t max_runs) const {
  std::string text;
  for (std::size_t i = 0; i < std::min(max_runs, runs_.size()); ++i) {
    text += str_cat(i == 0 ? "" : ",", text_of(runs_[i]));
  }
  return runs_.size() > max_runs ? str_cat(text, "… (", size(), " ranks)") : text;
}

}  // namespace polyrank
