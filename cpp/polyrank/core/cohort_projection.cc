#include <polyrank/core/cohort_projection.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/memo_table.h>
#include <polyrank/core/str_cat.h>

namespace polyrank {

namespace {

struct PairHash {
  std::size_t operator()(const std::pair<RankPartition, RankPartition>& pair) const noexcept {
    return pair.first.hash() * 31 + pair.second.hash();
  }
};

using Table = std::shared_ptr<const std::vector<std::int32_t>>;

Table make_table(const RankPartition& fine, const RankPartition& coarse) {
  if (!refines(fine, coarse)) {
    throw UsageError(
        str_cat("cohorts ", fine.to_string(), " do not each lie in one of ", coarse.to_string()));
  }
  std::vector<std::int32_t> table;
  table.reserve(static_cast<std::size_t>(fine.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < fine.num_cohorts(); ++cohort) {
    table.push_back(coarse.cohort_of(fine.lowest_rank(cohort)));
  }
  return std::make_shared<const std::vector<std::int32_t>>(std::move(table));
}

}  // namespace

CohortProjection project(const RankPartition& fine, const RankPartition& coarse) {
  CohortProjection projection;
  if (fine == coarse) {
    return projection;
  }
  if (coarse.is_uniform() && fine.ranks() == coarse.ranks()) {
    projection.mask_ = 0;
    return projection;
  }
  thread_local MemoTable<std::pair<RankPartition, RankPartition>, Table, PairHash> memo;
  const auto cost = static_cast<std::size_t>(fine.num_cohorts());
  projection.table_ = memo.get({fine, coarse}, cost, [&] { return make_table(fine, coarse); });
  return projection;
}

}  // namespace polyrank
