// Partitions to check laws on: all of them for a few ranks, random ones beyond.
#pragma once

#include <polyrank/core/rank_partition.h>
#include <polyrank/core/rank_set.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace polyrank {

using Ranks = std::vector<std::int64_t>;

// The same sequence on every machine: of the standard library only the engine is portable.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  // From 0..bound-1.
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(bound));
  }
  // From low..high.
  std::int64_t between(std::int64_t low, std::int64_t high) { return low + below(high - low + 1); }

 private:
  std::mt19937_64 engine_;
};

// `size` ranks with gaps, the lowest of them not 0.
inline RankSet ranks_with_gaps(std::int64_t size) {
  Ranks ranks;
  for (std::int64_t i = 0; i < size; ++i) {
    ranks.push_back(2 + i + i / 2);  // 2 3 5 6 8 9 ...
  }
  return RankSet::of(ranks);
}

// The ways to label `size` ranks, one for each partition: each label is at most one more than the
// highest before it.
inline std::vector<Ranks> all_labelings(std::int64_t size) {
  std::vector<Ranks> labelings{{}};
  for (std::int64_t i = 0; i < size; ++i) {
    std::vector<Ranks> longer;
    for (const Ranks& labels : labelings) {
      const std::int64_t used = labels.empty() ? 0 : 1 + *std::ranges::max_element(labels);
      for (std::int64_t label = 0; label <= used; ++label) {
        longer.push_back(labels);
        longer.back().push_back(label);
      }
    }
    labelings = std::move(longer);
  }
  return labelings;
}

inline std::vector<RankPartition> all_partitions(const RankSet& ranks) {
  std::vector<RankPartition> partitions;
  for (const Ranks& labels : all_labelings(ranks.size())) {
    partitions.push_back(RankPartition::from_labels(ranks, labels));
  }
  return partitions;
}

inline Ranks random_labels(std::int64_t size, Random* random) {
  // From one label for all to about one each; scattered, or in blocks as a mesh gives them.
  const std::int64_t num_labels = random->between(1, random->between(1, 2 * size));
  const std::int64_t block = random->below(2) == 0 ? 0 : random->between(1, size);
  Ranks labels;
  for (std::int64_t i = 0; i < size; ++i) {
    labels.push_back(block > 0 ? i / block % num_labels : random->below(num_labels));
  }
  return labels;
}

inline RankPartition random_partition(const RankSet& ranks, Random* random) {
  return RankPartition::from_labels(ranks, random_labels(ranks.size(), random));
}

inline RankSet random_ranks(std::int64_t size, Random* random) {
  switch (random->below(3)) {
    case 0:
      return RankSet::first(size);
    case 1:
      return ranks_with_gaps(size);
    default:
      return RankSet::range(size, 2 * size);
  }
}

}  // namespace polyrank
