#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/fake/fake_member.h>

namespace polyrank {

std::int64_t FakeMember::global_rank_of(std::int64_t group_rank) const {
  const std::int64_t own = own_rank();
  if (members_.position_of(own, own) < 0 || group_rank < 0 || group_rank >= group_size()) {
    throw UsageError(str_cat("the group of the ranks ", to_string(), " has ", group_size(),
                             " members; there is no group rank ", group_rank, " for rank ", own,
                             "."));
  }
  return members_.member(group_rank, own);
}

RankRuns FakeMember::ranks() const {
  const std::int64_t own = own_rank();
  if (members_.position_of(own, own) < 0) {
    throw UsageError(str_cat("rank ", own, " is not in the group."));
  }
  return members_.runs(own);
}

std::string FakeMember::to_string() const {
  return members_.has_group(own_rank()) ? members_.runs(own_rank()).to_string() : "none";
}

}  // namespace polyrank
