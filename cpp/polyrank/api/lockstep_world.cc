#include <polyrank/api/lockstep_world.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/engine/rank_random.h>
#include <polyrank/world/group_families.h>
#include <polyrank/world/lockstep/point_to_point.h>
#include <polyrank/world/rank_numbers.h>

#include <utility>

namespace polyrank {

namespace {

// A name and a size: collectives on it are run by our handlers before they look for a backend.
class NamedGroup final : public c10d::ProcessGroup {
 public:
  NamedGroup(std::string name, std::size_t size)
      : c10d::ProcessGroup(/*rank=*/0, static_cast<int>(size)), name_(std::move(name)) {}
  const std::string& getGroupName() const override { return name_; }

 private:
  std::string name_;
};

ProcessGroup& current_world_group() {
  static ProcessGroup group;
  return group;
}

std::shared_ptr<LockstepMode> mode_of(std::int64_t world_size) {
  if (world_size <= 0) {
    throw UsageError(str_cat("a LockstepWorld needs 1 or more ranks; got ", world_size, "."));
  }
  if (group_families().world_size() != 0) {
    throw UsageError(
        str_cat("there is a world of ", group_families().world_size(),
                " ranks in this process already; let it go out of scope before making another."));
  }
  return std::make_shared<LockstepMode>(RankSet::first(world_size));
}

}  // namespace

LockstepWorld::LockstepWorld(std::int64_t world_size)
    : mode_(mode_of(world_size)),
      world_group_(make_group(mode_->ranks().to_vector(), "world")),
      guard_(mode_) {
  cover_operators();
  current_world_group() = world_group_;
}

LockstepWorld::~LockstepWorld() {
  mode_->store_generators();
  current_world_group().reset();
  mailbox().clear();
  group_families().clear();
}

ProcessGroup LockstepWorld::make_group(const std::vector<std::int64_t>& ranks,
                                       const std::string& label) {
  const std::string name = str_cat(num_groups_++);
  group_families().add(name, ranks, mode_->ranks().size(), label);
  return c10::make_intrusive<NamedGroup>(name, ranks.size());
}

ProcessGroup LockstepWorld::new_group(const std::vector<std::int64_t>& ranks,
                                      const std::string& label) {
  return make_group(ranks, label);
}

ProcessGroup LockstepWorld::new_subgroups_by_enumeration(
    const std::vector<std::vector<std::int64_t>>& ranks, const std::string& label) {
  if (ranks.empty()) {
    throw UsageError("a family needs at least one group; give the ranks of each group.");
  }
  std::vector<std::string> names;
  ProcessGroup first;
  for (const auto& members : ranks) {
    const ProcessGroup group = make_group(members, label);
    names.push_back(group->getGroupName());
    first = first ? first : group;
  }
  group_families().declare_family(names.front(), names);
  return first;
}

void LockstepWorld::manual_seed(const c10::SymInt& seed) { seed_ranks(*mode_, seed); }

ProcessGroup group_or_world(const ProcessGroup& group) {
  if (group) {
    return group;
  }
  if (!current_world_group()) {
    throw UsageError("no process group was given, and there is no world; make a LockstepWorld.");
  }
  return current_world_group();
}

c10::SymInt get_rank(const ProcessGroup& group) {
  const ProcessGroup named = group_or_world(group);
  return rank_in_group(named->getGroupName(), named->getSize());
}

c10::SymInt rank_in_group(const std::string& group_name, std::int64_t group_size) {
  const std::int64_t world_size = group_families().world_size();
  return own_group_ranks(resolve_group(group_name, group_size, world_size)->family(),
                         RankSet::first(world_size));
}

std::int64_t get_world_size(const ProcessGroup& group) { return group_or_world(group)->getSize(); }

}  // namespace polyrank
