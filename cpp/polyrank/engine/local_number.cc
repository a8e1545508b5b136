#include <polyrank/core/cohort_projection.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_number.h>

#include <bit>
#include <unordered_map>
#include <vector>

namespace polyrank {

namespace {

// Equal exactly where two values may be merged.
template <typename T>
std::uint64_t merge_key(T value) {
  if constexpr (sizeof(T) == sizeof(std::uint64_t)) {
    return std::bit_cast<std::uint64_t>(value);
  } else {
    return static_cast<std::uint64_t>(value);
  }
}

}  // namespace

template <typename T>
LocalNumber<T>::LocalNumber(const RankPartition& partition, std::span<const T> value_of_cohort)
    : partition_(partition) {
  const auto num_cohorts = static_cast<std::size_t>(partition.num_cohorts());
  if (num_cohorts == 0) {
    throw UsageError("a number of no ranks: give a value for at least one rank.");
  }
  if (value_of_cohort.size() != num_cohorts) {
    throw UsageError(str_cat("a number over ", num_cohorts, " cohorts needs as many values, not ",
                             value_of_cohort.size(), "."));
  }
  // Cohorts are numbered by their lowest rank, so the first cohort with a value gives the merged
  // cohort its number: values in order of first occurrence are the merged cohorts' values.
  std::vector<std::int64_t> labels;
  labels.reserve(num_cohorts);
  std::unordered_map<std::uint64_t, std::int64_t> label_of;
  label_of.reserve(num_cohorts);
  for (const T value : value_of_cohort) {
    const auto next = static_cast<std::int64_t>(label_of.size());
    const auto [entry, is_new] = label_of.emplace(merge_key(value), next);
    labels.push_back(entry->second);
    if (is_new) {
      values_.push_back(value);
    }
  }
  if (values_.size() < num_cohorts) {
    partition_ = partition.coarsen(labels);
  }
}

template <typename T>
LocalNumber<T> LocalNumber<T>::uniform(const RankSet& ranks, T value) {
  return LocalNumber(RankPartition::uniform(ranks), {&value, 1});
}

template <typename T>
LocalNumber<T> LocalNumber<T>::restrict_to(const RankSet& subset) const {
  const RankPartition restricted = partition_.restrict_to(subset);
  c10::SmallVector<T, 4> values;
  for (std::int32_t cohort = 0; cohort < restricted.num_cohorts(); ++cohort) {
    values.push_back(value(partition_.cohort_of(restricted.lowest_rank(cohort))));
  }
  return LocalNumber(restricted, {values.data(), values.size()});
}

template class LocalNumber<std::int64_t>;
template class LocalNumber<double>;
template class LocalNumber<bool>;

const RankPartition& partition_of(const AnyNumber& number) noexcept {
  return std::visit([](const auto& of_type) -> const RankPartition& { return of_type.partition(); },
                    number);
}

RankPartition common_partition(const RankPartition& a, const RankPartition& b) {
  if (a.ranks() == b.ranks()) {
    return meet(a, b);
  }
  if (b.is_uniform()) {
    return a;
  }
  if (a.is_uniform()) {
    return b;
  }
  if (a.ranks().is_subset_of(b.ranks())) {
    return meet(a, b.restrict_to(a.ranks()));
  }
  if (b.ranks().is_subset_of(a.ranks())) {
    return meet(a.restrict_to(b.ranks()), b);
  }
  throw UsageError(str_cat("rank-dependent numbers over different ranks: one over ranks ",
                           a.ranks().to_string(), ", the other over ranks ", b.ranks().to_string(),
                           ". Make both over the same ranks."));
}

}  // namespace polyrank
