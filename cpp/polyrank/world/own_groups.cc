#include <polyrank/core/rank_runs.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/global_ranks.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/own_groups.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;

OwnGroups::Membership describe(const ProcessGroup& process_group) {
  const std::string& name = process_group->getGroupName();
  const auto* const knows_members = dynamic_cast<const GlobalRanks*>(process_group.get());
  const std::vector<std::int64_t> members = knows_members == nullptr
                                                ? members_of_group(name, process_group->getSize())
                                                : knows_members->global_ranks();
  const RankRuns ranks = RankRuns::of(members);
  const std::optional<std::string> given = given_label(process_group->getGroupDesc());
  const std::string label = given ? *given : str_cat("ranks ", ranks.to_string());
  const std::int64_t rank = members[static_cast<std::size_t>(process_group->getRank())];
  return {std::make_shared<const Group>(name, label, ranks),
          RankPartition::uniform(RankSet::range(rank, rank + 1))};
}

}  // namespace

OwnGroups::Membership OwnGroups::find(const ProcessGroup& process_group) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = groups_.find(process_group.get());
    if (found != groups_.end() && !found->second.process_group.expired()) {
      return found->second.membership;
    }
  }
  Entry described{c10::weak_intrusive_ptr<c10d::ProcessGroup>(process_group),
                  describe(process_group)};  // unlocked: may wait for the interpreter
  const std::lock_guard lock(mutex_);
  return groups_.insert_or_assign(process_group.get(), std::move(described))
      .first->second.membership;
}

OwnGroups& own_groups() {
  static auto* const groups = new OwnGroups();  // process groups may outlive static objects
  return *groups;
}

void OwnGroups::clear() {
  const std::lock_guard lock(mutex_);
  groups_.clear();
}

}  // namespace polyrank
