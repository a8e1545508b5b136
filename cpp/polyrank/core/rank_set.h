// Sets of global ranks.
#pragma once

#include <polyrank/core/export.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace polyrank {

// Consecutive ranks begin, begin + 1, …, end - 1.
struct RankRange {
  std::int64_t begin;
  std::int64_t end;
  bool operator==(const RankRange&) const = default;
};

// A sorted set of global ranks. Immutable; copies share their content.
//
// Thread rule: free to be read by any number of threads.
//
// Invariants: (1) ranges are disjoint, sorted and not empty; (2) no two ranges touch, so that equal
// sets have equal ranges.
class POLYRANK_API RankSet {
 public:
  RankSet();

  // The ranks begin..end-1; empty if end <= begin.
  // Throws: UsageError if begin < 0 and the set is not empty.
  static RankSet range(std::int64_t begin, std::int64_t end);

  // The ranks 0..world_size-1.
  static RankSet first(std::int64_t world_size) { return range(0, world_size); }

  // The given ranks, in any order, repeated or not.
  // Throws: UsageError if one is negative.
  static RankSet of(std::span<const std::int64_t> ranks);

  std::int64_t size() const noexcept;
  bool empty() const noexcept { return size() == 0; }
  // Cost: O(log number of ranges), for this and the next three.
  bool contains(std::int64_t rank) const noexcept;
  // The rank at a position in sorted order.
  // Throws: UsageError if index is not in 0..size()-1.
  std::int64_t rank_at(std::int64_t index) const;
  // The position of a member in sorted order.
  // Throws: UsageError if `rank` is no member.
  std::int64_t index_of(std::int64_t rank) const;
  // Throws: UsageError if the set is empty.
  std::int64_t min() const;
  std::int64_t max() const;

  // Cost: O(number of ranges), for the set operations.
  // Ensures: (1) r in a.unite(b) iff r in a or r in b; (2) r in a.intersect(b) iff r in a and in b;
  //          (3) r in a.subtract(b) iff r in a and not in b;
  //          (4) a.is_subset_of(b) iff each r in a is in b.
  RankSet unite(const RankSet& other) const;
  RankSet intersect(const RankSet& other) const;
  RankSet subtract(const RankSet& other) const;
  bool is_subset_of(const RankSet& other) const;

  std::span<const RankRange> ranges() const noexcept;
  std::vector<std::int64_t> to_vector() const;

  // "0-3,6"; after `max_ranges` ranges it goes on with "… (512 ranks)".
  std::string to_string() const { return to_string(16); }
  std::string to_string(std::size_t max_ranges) const;

  bool operator==(const RankSet& other) const noexcept;
  std::size_t hash() const noexcept;

  // Identifies the shared content: equal ids mean equal sets, though not the other way round.
  const void* id() const noexcept { return rep_.get(); }

  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = std::int64_t;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::int64_t*;
    using reference = std::int64_t;

    Iterator() = default;
    Iterator(const RankRange* range, const RankRange* last)
        : range_(range), last_(last), rank_(range == last ? 0 : range->begin) {}
    std::int64_t operator*() const { return rank_; }
    Iterator& operator++() {
      if (++rank_ == range_->end) {
        ++range_;
        rank_ = range_ == last_ ? 0 : range_->begin;
      }
      return *this;
    }
    Iterator operator++(int) {
      const Iterator old = *this;
      ++*this;
      return old;
    }
    bool operator==(const Iterator& other) const = default;

   private:
    const RankRange* range_ = nullptr;
    const RankRange* last_ = nullptr;
    std::int64_t rank_ = 0;
  };
  Iterator begin() const;
  Iterator end() const;

 private:
  struct Rep;
  explicit RankSet(std::vector<RankRange> ranges);

  std::shared_ptr<const Rep> rep_;
};

}  // namespace polyrank

template <>
struct std::hash<polyrank::RankSet> {
  std::size_t operator()(const polyrank::RankSet& ranks) const noexcept { return ranks.hash(); }
};
