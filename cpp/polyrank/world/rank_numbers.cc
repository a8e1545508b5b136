#include <polyrank/core/errors.h>
#include <polyrank/core/memo_table.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_number_text.h>
#include <polyrank/exchange/rank_operand.h>
#include <polyrank/world/rank_numbers.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

// What own_ranks() (no family) and own_group_ranks() are asked again and again.
struct Question {
  std::optional<GroupFamily> family;
  RankSet ranks;
  bool operator==(const Question&) const noexcept = default;
};

struct QuestionHash {
  std::size_t operator()(const Question& question) const noexcept {
    return (question.family ? question.family->hash() : 0) * 31 + question.ranks.hash();
  }
};

// Bytes of a rank in a number of one value a rank, about.
constexpr std::size_t kCostOfRank = 16;

template <class ValueOn>
c10::SymInt by_rank(const RankSet& ranks, ValueOn value_on) {
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(ranks.size()));
  for (const std::int64_t rank : ranks) {
    values.push_back(value_on(rank));
  }
  return make_local_int(RankPartition::identity(ranks), values);
}

template <class ValueOn>
const c10::SymInt& remembered(Question question, ValueOn value_on) {
  thread_local MemoTable<Question, c10::SymInt, QuestionHash> answers;
  const auto cost = static_cast<std::size_t>(question.ranks.size()) * kCostOfRank;
  return answers.get(question, cost, [&] { return by_rank(question.ranks, value_on); });
}

// Throws: a UsageError where all `asking` ranks `fail`, with `text`; else ranks part.
void check_failures(const RankSet& asking, const std::vector<std::int64_t>& fail,
                    const std::string& text) {
  if (fail.empty()) {
    return;
  }
  const RankSet failing = RankSet::of(fail);
  if (failing == asking) {
    throw UsageError(text);
  }
  throw DivergenceError(
      str_cat("on ", ranks_text(failing), " there is no such rank, and there is on ",
              ranks_text(asking.subtract(failing)), ": ", text,
              ". Give all ranks one that is in their group, or run the program with `polyrank run "
              "--world threads` (the threads world), where each rank runs its own program."));
}

// `look_up(group, value)` on each rank that has a value of `number`.
// Throws: UsageError, DivergenceError: see check_failures(), for what look_up() throws.
template <class LookUp>
c10::SymInt look_up_by_rank(const GroupFamily& family, const RankSet& ranks,
                            const c10::SymInt& number, LookUp look_up) {
  const LocalIntNode* const node = as_local_int(number);
  const RankSet asking = node == nullptr ? ranks : ranks.intersect(node->partition().ranks());
  std::vector<std::int64_t> fail;
  std::string text;
  c10::SymInt found = by_rank(asking, [&](std::int64_t rank) -> std::int64_t {
    const std::int64_t group = family.group_of(rank);
    try {
      return group < 0 ? -1 : look_up(group, number_on_rank(number, rank));
    } catch (const UsageError& error) {
      text = fail.empty() ? error.what() : text;
      fail.push_back(rank);
      return -1;
    }
  });
  check_failures(asking, fail, text);
  return found;
}

std::string members_text(const GroupFamily& family, std::int64_t group) {
  return str_cat("the group of the ranks ", RankSet::of(family.members(group)).to_string());
}

}  // namespace

c10::SymInt own_ranks(const RankSet& ranks) {
  return remembered({.family = std::nullopt, .ranks = ranks},
                    [](std::int64_t rank) { return rank; });
}

c10::SymInt own_group_ranks(const GroupFamily& family, const RankSet& ranks) {
  return remembered({.family = family, .ranks = ranks}, [&](std::int64_t rank) {
    return static_cast<std::int64_t>(family.position_of(rank));
  });
}

c10::SymInt own_group_sizes(const GroupFamily& family, const RankSet& ranks) {
  const RankSet members = ranks.intersect(family.ranks());
  if (members == ranks) {
    return family.group_size();
  }
  return by_rank(
      ranks, [&](std::int64_t rank) { return members.contains(rank) ? family.group_size() : -1; });
}

c10::SymInt group_ranks_of(const GroupFamily& family, const RankSet& ranks,
                           const c10::SymInt& global_rank) {
  return look_up_by_rank(
      family, ranks, global_rank, [&](std::int64_t group, std::int64_t wanted) -> std::int64_t {
        if (family.group_of(wanted) != group) {
          throw UsageError(str_cat("rank ", wanted, " is not in ", members_text(family, group)));
        }
        return family.position_of(wanted);
      });
}

c10::SymInt global_ranks_of(const GroupFamily& family, const RankSet& ranks,
                            const c10::SymInt& group_rank) {
  return look_up_by_rank(
      family, ranks, group_rank, [&](std::int64_t group, std::int64_t wanted) -> std::int64_t {
        if (wanted < 0 || wanted >= family.group_size()) {
          throw UsageError(str_cat(members_text(family, group), " has no group rank ", wanted,
                                   "; valid: 0..", family.group_size() - 1));
        }
        return family.member(group, wanted);
      });
}

}  // namespace polyrank
