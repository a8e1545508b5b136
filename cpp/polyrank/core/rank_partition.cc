#include <polyrank/core/errors.h>
#include <polyrank/core/memo_table.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace polyrank {

struct RankPartition::Rep {
  RankSet ranks;
  std::int32_t num_cohorts = 0;
  std::vector<std::int32_t> cohorts;       // per index; empty where uniform or identity
  std::vector<std::int32_t> lowest_index;  // per cohort; empty likewise
  std::size_t content_hash = 0;
  mutable std::once_flag cohort_sets_made;
  mutable std::vector<RankSet> cohort_sets;

  bool is_uniform() const { return num_cohorts <= 1; }
  bool same_content(const Rep& other) const {
    return num_cohorts == other.num_cohorts && ranks == other.ranks && cohorts == other.cohorts;
  }
};

// All partitions that are alive in the process, by content. Entries go with their last handle.
struct RankPartition::Interner {
  std::mutex mutex;
  std::unordered_multimap<std::size_t, std::weak_ptr<const Rep>> alive;

  static Interner& instance() {
    static auto* interner = new Interner();  // handles may outlive static destruction
    return *interner;
  }

  std::shared_ptr<const Rep> find_or_add(std::unique_ptr<Rep> candidate) {
    const std::size_t hash = candidate->content_hash;
    // Handles of other partitions with this hash. Another thread may drop its handle meanwhile and
    // leave ours the last: it then calls forget(), so it must go after the mutex was released.
    std::vector<std::shared_ptr<const Rep>> collisions;
    const std::lock_guard<std::mutex> lock(mutex);
    auto [entry, last] = alive.equal_range(hash);
    while (entry != last) {
      if (auto known = entry->second.lock()) {
        if (known->same_content(*candidate)) {
          return known;
        }
        collisions.push_back(std::move(known));
        ++entry;
      } else {
        entry = alive.erase(entry);
      }
    }
    std::shared_ptr<const Rep> added(candidate.release(), &Interner::forget);
    alive.emplace(hash, added);
    return added;
  }

  static void forget(const Rep* rep) {
    Interner& self = instance();
    {
      const std::lock_guard<std::mutex> lock(self.mutex);
      auto [entry, last] = self.alive.equal_range(rep->content_hash);
      while (entry != last) {
        entry = entry->second.expired() ? self.alive.erase(entry) : std::next(entry);
      }
    }
    delete rep;
  }
};

namespace {

struct PairHash {
  std::size_t operator()(const std::pair<RankPartition, RankPartition>& pair) const noexcept {
    return pair.first.hash() * 31 + pair.second.hash();
  }
};

// Renumbers labels 0..num_labels-1 in order of first occurrence; returns how many occur.
std::int32_t number_by_first(std::vector<std::int32_t>* labels, std::size_t num_labels) {
  std::vector<std::int32_t> number(num_labels, -1);
  std::int32_t next = 0;
  for (std::int32_t& label : *labels) {
    std::int32_t& assigned = number[static_cast<std::size_t>(label)];
    if (assigned < 0) {
      assigned = next++;
    }
    label = assigned;
  }
  return next;
}

// Numbers the pairs (cohort in `a`, cohort in `b`) of the ranks in order of first occurrence.
//
// A hash table of its own, since a look-up among a million pairs is a cache miss: slots are 8
// bytes, and the slot of a later rank is fetched while earlier ranks are numbered.
class PairNumbers {
 public:
  PairNumbers(const RankPartition& a, const RankPartition& b)
      : a_(a), b_(b), size_(a.ranks().size()) {
    const auto most_pairs = static_cast<std::uint64_t>(
        std::min(size_, std::int64_t{a.num_cohorts()} * b.num_cohorts()));
    slots_.resize(std::bit_ceil(2 * most_pairs));
  }

  // Ensures: (1) numbers[i] == numbers[j] iff ranks i and j share a cohort in both partitions;
  //          (2) a number occurs for the first time after all lower ones.
  std::pair<std::vector<std::int32_t>, std::int32_t> numbers() {
    constexpr std::int64_t kAhead = 16;
    numbers_.resize(static_cast<std::size_t>(size_));
    for (std::int64_t index = 0; index < size_; ++index) {
      if (index + kAhead < size_) {
        __builtin_prefetch(&slots_[first_slot(hash_at(index + kAhead))]);
      }
      const std::int32_t first = index > 0 && same_pair(index, index - 1)
                                     ? static_cast<std::int32_t>(index - 1)
                                     : first_with_pair_of(static_cast<std::int32_t>(index));
      numbers_[static_cast<std::size_t>(index)] =
          first == index ? num_numbers_++ : numbers_[static_cast<std::size_t>(first)];
    }
    return {std::move(numbers_), num_numbers_};
  }

 private:
  struct Slot {
    std::uint32_t hash_bits = 0;
    std::int32_t first_index = -1;  // free
  };

  std::uint64_t hash_at(std::int64_t index) const {
    const auto pair = (static_cast<std::uint64_t>(a_.cohort_at(index)) << 32U) |
                      static_cast<std::uint64_t>(b_.cohort_at(index));
    const std::uint64_t mixed = (pair ^ (pair >> 29U)) * 0x9E3779B97F4A7C15U;
    return mixed ^ (mixed >> 32U);
  }
  std::size_t first_slot(std::uint64_t hash) const { return hash & (slots_.size() - 1); }

  bool same_pair(std::int64_t index, std::int64_t other) const {
    return a_.cohort_at(index) == a_.cohort_at(other) && b_.cohort_at(index) == b_.cohort_at(other);
  }

  // The first index that holds the pair of `index`; `index` itself where none did before.
  std::int32_t first_with_pair_of(std::int32_t index) {
    const std::uint64_t hash = hash_at(index);
    const auto hash_bits = static_cast<std::uint32_t>(hash >> 32U);
    for (std::size_t at = first_slot(hash);; at = first_slot(at + 1)) {
      Slot& slot = slots_[at];
      if (slot.first_index < 0) {
        slot = {hash_bits, index};
        return index;
      }
      if (slot.hash_bits == hash_bits && same_pair(index, slot.first_index)) {
        return slot.first_index;
      }
    }
  }

  const RankPartition& a_;
  const RankPartition& b_;
  std::int64_t size_;
  std::vector<Slot> slots_;
  std::vector<std::int32_t> numbers_;
  std::int32_t num_numbers_ = 0;
};

// As PairNumbers::numbers(), by a table of all pairs that could be.
std::pair<std::vector<std::int32_t>, std::int32_t> number_few_pairs(const RankPartition& a,
                                                                    const RankPartition& b) {
  const auto num_b = static_cast<std::size_t>(b.num_cohorts());
  std::vector<std::int32_t> labels(static_cast<std::size_t>(a.ranks().size()));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    labels[i] = static_cast<std::int32_t>(static_cast<std::size_t>(a.cohort_at(index)) * num_b +
                                          static_cast<std::size_t>(b.cohort_at(index)));
  }
  const std::int32_t num_numbers =
      number_by_first(&labels, static_cast<std::size_t>(a.num_cohorts()) * num_b);
  return {std::move(labels), num_numbers};
}

}  // namespace

RankPartition::RankPartition() {
  static const std::shared_ptr<const Rep> empty = intern(RankSet(), {}, 0).rep_;
  rep_ = empty;
}

RankPartition RankPartition::intern(const RankSet& ranks, std::vector<std::int32_t> cohorts,
                                    std::int32_t num_cohorts) {
  auto rep = std::make_unique<Rep>();
  rep->ranks = ranks;
  rep->num_cohorts = num_cohorts;
  std::size_t hash = ranks.hash() * 31 + static_cast<std::size_t>(num_cohorts);
  if (num_cohorts > 1 && num_cohorts < ranks.size()) {
    rep->lowest_index.reserve(static_cast<std::size_t>(num_cohorts));
    for (std::size_t i = 0; i < cohorts.size(); ++i) {
      hash = hash * 1000003U + static_cast<std::size_t>(cohorts[i]);
      if (cohorts[i] == static_cast<std::int32_t>(rep->lowest_index.size())) {
        rep->lowest_index.push_back(static_cast<std::int32_t>(i));
      }
    }
    rep->cohorts = std::move(cohorts);
  }
  rep->content_hash = hash;
  return RankPartition(Interner::instance().find_or_add(std::move(rep)));
}

RankPartition RankPartition::uniform(const RankSet& ranks) {
  // Asked for at each operator, mostly for the same ranks.
  thread_local std::pair<RankSet, std::shared_ptr<const Rep>> last;
  if (last.second == nullptr || last.first.id() != ranks.id()) {
    last = {ranks, intern(ranks, {}, ranks.empty() ? 0 : 1).rep_};
  }
  return RankPartition(last.second);
}

RankPartition RankPartition::identity(const RankSet& ranks) {
  return intern(ranks, {}, static_cast<std::int32_t>(ranks.size()));
}

RankPartition RankPartition::from_labels(const RankSet& ranks,
                                         std::span<const std::int64_t> labels) {
  if (static_cast<std::int64_t>(labels.size()) != ranks.size()) {
    throw UsageError(str_cat("expected one label for each of ranks ", ranks.to_string(), ", got ",
                             labels.size()));
  }
  std::unordered_map<std::int64_t, std::int32_t> numbers;
  std::vector<std::int32_t> cohorts;
  cohorts.reserve(labels.size());
  for (const std::int64_t label : labels) {
    cohorts.push_back(
        numbers.emplace(label, static_cast<std::int32_t>(numbers.size())).first->second);
  }
  return intern(ranks, std::move(cohorts), static_cast<std::int32_t>(numbers.size()));
}

RankPartition RankPartition::from_cohorts(std::span<const RankSet> cohorts) {
  std::vector<std::pair<std::int64_t, std::int64_t>> members;  // rank, cohort
  for (std::size_t i = 0; i < cohorts.size(); ++i) {
    if (cohorts[i].empty()) {
      throw UsageError("a cohort has no rank");
    }
    for (const std::int64_t rank : cohorts[i]) {
      members.emplace_back(rank, static_cast<std::int64_t>(i));
    }
  }
  std::sort(members.begin(), members.end());
  std::vector<std::int64_t> ranks;
  std::vector<std::int64_t> labels;
  for (const auto& [rank, label] : members) {
    if (!ranks.empty() && ranks.back() == rank) {
      throw UsageError(str_cat("rank ", rank, " is in two cohorts"));
    }
    ranks.push_back(rank);
    labels.push_back(label);
  }
  return from_labels(RankSet::of(ranks), labels);
}

const RankSet& RankPartition::ranks() const noexcept { return rep_->ranks; }

std::int32_t RankPartition::num_cohorts() const noexcept { return rep_->num_cohorts; }

std::int32_t RankPartition::cohort_at(std::int64_t index) const noexcept {
  if (rep_->is_uniform()) {
    return 0;
  }
  return rep_->cohorts.empty() ? static_cast<std::int32_t>(index)
                               : rep_->cohorts[static_cast<std::size_t>(index)];
}

std::int32_t RankPartition::cohort_of(std::int64_t rank) const {
  return cohort_at(ranks().index_of(rank));
}

std::int64_t RankPartition::lowest_rank(std::int32_t cohort) const {
  if (rep_->lowest_index.empty()) {
    return ranks().rank_at(cohort);
  }
  return ranks().rank_at(rep_->lowest_index[static_cast<std::size_t>(cohort)]);
}

const RankSet& RankPartition::cohort(std::int32_t cohort) const {
  if (rep_->is_uniform()) {
    return rep_->ranks;
  }
  std::call_once(rep_->cohort_sets_made, [this] {
    std::vector<std::vector<std::int64_t>> members(static_cast<std::size_t>(num_cohorts()));
    std::int64_t index = 0;
    for (const std::int64_t rank : ranks()) {
      members[static_cast<std::size_t>(cohort_at(index++))].push_back(rank);
    }
    rep_->cohort_sets.reserve(members.size());
    for (const auto& ranks_of_cohort : members) {
      rep_->cohort_sets.push_back(RankSet::of(ranks_of_cohort));
    }
  });
  return rep_->cohort_sets[static_cast<std::size_t>(cohort)];
}

RankPartition RankPartition::restrict_to(const RankSet& subset) const {
  if (subset == ranks()) {
    return *this;
  }
  if (!subset.is_subset_of(ranks())) {
    throw UsageError(str_cat("ranks ", subset.subtract(ranks()).to_string(),
                             " are not among ranks ", ranks().to_string()));
  }
  std::vector<std::int64_t> labels;
  labels.reserve(static_cast<std::size_t>(subset.size()));
  for (const std::int64_t rank : subset) {
    labels.push_back(cohort_of(rank));
  }
  return from_labels(subset, labels);
}

RankPartition RankPartition::coarsen(std::span<const std::int64_t> label_of_cohort) const {
  if (static_cast<std::int32_t>(label_of_cohort.size()) != num_cohorts()) {
    throw UsageError(str_cat("expected one label for each of ", num_cohorts(), " cohorts, got ",
                             label_of_cohort.size()));
  }
  // Cohorts are in order of first occurrence, and so are their labels' numbers.
  std::unordered_map<std::int64_t, std::int32_t> numbers;
  std::vector<std::int32_t> number_of_cohort;
  number_of_cohort.reserve(label_of_cohort.size());
  for (const std::int64_t label : label_of_cohort) {
    number_of_cohort.push_back(
        numbers.emplace(label, static_cast<std::int32_t>(numbers.size())).first->second);
  }
  const auto num_numbers = static_cast<std::int32_t>(numbers.size());
  if (num_numbers == num_cohorts()) {
    return *this;
  }
  std::vector<std::int32_t> cohorts(static_cast<std::size_t>(ranks().size()));
  for (std::size_t i = 0; i < cohorts.size(); ++i) {
    cohorts[i] =
        number_of_cohort[static_cast<std::size_t>(cohort_at(static_cast<std::int64_t>(i)))];
  }
  return intern(ranks(), std::move(cohorts), num_numbers);
}

std::string RankPartition::to_string() const {
  constexpr std::int32_t kShown = 8;
  std::ostringstream out;
  for (std::int32_t i = 0; i < std::min(num_cohorts(), kShown); ++i) {
    out << (i == 0 ? "{" : " {") << cohort(i).to_string() << "}";
  }
  if (num_cohorts() > kShown) {
    out << " … (" << num_cohorts() << " cohorts)";
  }
  return out.str();
}

RankPartition make_meet(const RankPartition& a, const RankPartition& b) {
  if (a.ranks() != b.ranks()) {
    throw UsageError(str_cat("partitions of different ranks have no common refinement: ranks ",
                             a.ranks().to_string(), " and ranks ", b.ranks().to_string()));
  }
  const std::int64_t num_possible_pairs = std::int64_t{a.num_cohorts()} * b.num_cohorts();
  auto [cohorts, num_cohorts] = num_possible_pairs <= 2 * a.ranks().size() + 1024
                                    ? number_few_pairs(a, b)
                                    : PairNumbers(a, b).numbers();
  return RankPartition::intern(a.ranks(), std::move(cohorts), num_cohorts);
}

RankPartition meet(const RankPartition& a, const RankPartition& b) {
  if (a == b) {
    return a;
  }
  // Equal sets that are not one object are compared once a pair: they may be long.
  if (a.ranks().id() == b.ranks().id()) {
    if (b.is_uniform() || a.is_identity()) {
      return a;
    }
    if (a.is_uniform() || b.is_identity()) {
      return b;
    }
  }
  thread_local MemoTable<std::pair<RankPartition, RankPartition>, RankPartition, PairHash> memo;
  const auto cost = static_cast<std::size_t>(a.ranks().size());
  return memo.get({a, b}, cost, [&] { return make_meet(a, b); });
}

namespace {

RankPartition make_overlay(const RankPartition& over, const RankPartition& under) {
  if (!over.ranks().is_subset_of(under.ranks())) {
    throw UsageError(str_cat("ranks ", over.ranks().subtract(under.ranks()).to_string(),
                             " are not among ranks ", under.ranks().to_string()));
  }
  std::vector<std::int64_t> labels;
  labels.reserve(static_cast<std::size_t>(under.ranks().size()));
  for (const std::int64_t rank : under.ranks()) {
    labels.push_back(over.ranks().contains(rank)
                         ? over.cohort_of(rank)
                         : std::int64_t{over.num_cohorts()} + under.cohort_of(rank));
  }
  return RankPartition::from_labels(under.ranks(), labels);
}

}  // namespace

RankPartition overlay(const RankPartition& over, const RankPartition& under) {
  if (over.ranks() == under.ranks()) {
    return over;
  }
  thread_local MemoTable<std::pair<RankPartition, RankPartition>, RankPartition, PairHash> memo;
  const auto cost = static_cast<std::size_t>(under.ranks().size());
  return memo.get({over, under}, cost, [&] { return make_overlay(over, under); });
}

bool refines(const RankPartition& fine, const RankPartition& coarse) {
  return meet(fine, coarse) == fine;
}

}  // namespace polyrank
