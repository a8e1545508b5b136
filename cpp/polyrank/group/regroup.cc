#include <polyrank/core/memo_table.h>
#include <polyrank/group/regroup.h>

#include <algorithm>
#include <map>
#include <utility>

namespace polyrank {

namespace {

struct Key {
  RankPartition partition;
  GroupFamily family;
  OutputKind kind;
  std::int32_t root;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const noexcept {
    return (key.partition.hash() * 31 + key.family.hash()) * 31 +
           static_cast<std::size_t>(key.kind) + 7 * static_cast<std::size_t>(key.root);
  }
};

// Index of each group's tuple in `regrouping.input_cohorts`, which it fills; -1: does not run.
std::vector<std::int32_t> find_tuples(const RankPartition& partition, const GroupFamily& family,
                                      Regrouping* regrouping) {
  std::map<std::vector<std::int32_t>, std::int32_t> known;
  std::vector<std::int32_t> tuple_of_group(static_cast<std::size_t>(family.num_groups()), -1);
  for (std::int64_t group = 0; group < family.num_groups(); ++group) {
    const auto members = family.members(group);
    const auto takes_part = [&](std::int64_t rank) { return partition.ranks().contains(rank); };
    if (!std::all_of(members.begin(), members.end(), takes_part)) {
      continue;
    }
    std::vector<std::int32_t> cohorts;
    cohorts.reserve(members.size());
    for (const std::int64_t rank : members) {
      cohorts.push_back(partition.cohort_of(rank));
    }
    const auto next = static_cast<std::int32_t>(known.size());
    const auto [entry, is_new] = known.emplace(std::move(cohorts), next);
    if (is_new) {
      regrouping->input_cohorts.push_back(entry->first);
    }
    tuple_of_group[static_cast<std::size_t>(group)] = entry->second;
  }
  return tuple_of_group;
}

std::shared_ptr<const Regrouping> make_regrouping(const RankPartition& partition,
                                                  const GroupFamily& family, OutputKind kind,
                                                  std::int32_t root) {
  auto regrouping = std::make_shared<Regrouping>();
  const std::vector<std::int32_t> tuple_of_group = find_tuples(partition, family, regrouping.get());
  const std::int64_t num_positions = kind == OutputKind::kOwnPerMember ? family.group_size() : 1;
  const auto source_of = [&](std::int64_t rank) -> Regrouping::Source {
    const std::int64_t group = family.group_of(rank);
    const std::int32_t tuple = group < 0 ? -1 : tuple_of_group[static_cast<std::size_t>(group)];
    const bool gets_nothing =
        tuple < 0 || (kind == OutputKind::kRootOnly && family.position_of(rank) != root);
    if (gets_nothing) {
      return {-1, 0, partition.cohort_of(rank)};
    }
    return {tuple, kind == OutputKind::kOwnPerMember ? family.position_of(rank) : 0, -1};
  };
  std::vector<std::int64_t> labels;
  labels.reserve(static_cast<std::size_t>(partition.ranks().size()));
  for (const std::int64_t rank : partition.ranks()) {
    const Regrouping::Source source = source_of(rank);
    labels.push_back(source.tuple < 0 ? -1 - static_cast<std::int64_t>(source.kept_cohort)
                                      : source.tuple * num_positions + source.position);
  }
  regrouping->result = RankPartition::from_labels(partition.ranks(), labels);
  for (std::int32_t cohort = 0; cohort < regrouping->result.num_cohorts(); ++cohort) {
    regrouping->sources.push_back(source_of(regrouping->result.lowest_rank(cohort)));
  }
  return regrouping;
}

}  // namespace

std::shared_ptr<const Regrouping> regroup(const RankPartition& partition, const GroupFamily& family,
                                          OutputKind kind, std::int32_t root) {
  thread_local MemoTable<Key, std::shared_ptr<const Regrouping>, KeyHash> memo;
  const auto cost = static_cast<std::size_t>(partition.ranks().size());
  return memo.get({partition, family, kind, root}, cost,
                  [&] { return make_regrouping(partition, family, kind, root); });
}

}  // namespace polyrank
