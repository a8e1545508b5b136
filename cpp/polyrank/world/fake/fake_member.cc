#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/fake/fake_member.h>

namespace polyrank {

std::int64_t FakeMember::global_rank_of(std::int64_t group_rank) const {
  const std::int64_t own = own_rank();
  const std::int64_t group = family_.group_of(own);
  if (group < 0 || group_rank < 0 || group_rank >= group_size()) {
    throw UsageError(str_cat("the group of the ranks ", to_string(), " has ", group_size(),
                             " members; there is no group rank ", group_rank, " for rank ", own,
                             "."));
  }
  return family_.member(group, group_rank);
}

RankRuns FakeMember::ranks() const {
  const std::int64_t own = own_rank();
  const std::int64_t group = family_.group_of(own);
  if (group < 0) {
    throw UsageError(str_cat("rank ", own, " is not in the group."));
  }
  return family_.runs(group);
}

std::string FakeMember::to_string() const {
  const std::int64_t group = family_.group_of(own_rank());
  return group < 0 ? "none" : family_.runs(group).to_string();
}

}  // namespace polyrank
