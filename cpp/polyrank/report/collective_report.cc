#include <polyrank/report/collective_report.h>

#include <algorithm>
#include <tuple>

namespace polyrank {

void CollectiveReport::record(const CollectiveLaunch& launch) {
  const std::lock_guard lock(mutex_);
  CollectiveTotals& totals = totals_[{launch.group_name, launch.kind}];
  totals.kind = launch.kind;
  totals.group_name = launch.group_name;
  totals.group_label = launch.group_label;
  totals.group_size = launch.group_size;
  totals.num_groups = launch.num_groups;
  totals.num_launches += 1;
  totals.input_bytes += launch.input_bytes;
  totals.rank_launches += launch.num_groups * launch.group_size;
  totals.num_computed += launch.num_computed;
}

std::vector<CollectiveTotals> CollectiveReport::rows() const {
  std::vector<CollectiveTotals> rows;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, totals] : totals_) {
      rows.push_back(totals);
    }
  }
  std::sort(rows.begin(), rows.end(), [](const CollectiveTotals& a, const CollectiveTotals& b) {
    return std::tie(a.group_label, a.group_name, a.kind) <
           std::tie(b.group_label, b.group_name, b.kind);
  });
  return rows;
}

void CollectiveReport::reset() {
  const std::lock_guard lock(mutex_);
  totals_.clear();
}

CollectiveReport& collective_report() {
  static CollectiveReport report;
  return report;
}

}  // namespace polyrank
