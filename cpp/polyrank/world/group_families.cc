#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/world/group_families.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <set>
#include <utility>

namespace polyrank {

namespace {

using Members = std::vector<std::int64_t>;

std::atomic<FindMembers> find_members{nullptr};

std::string label_of(const std::string& label, const Members& members) {
  return label.empty() ? str_cat("ranks ", RankSet::of(members).to_string()) : label;
}

void check_members(const Members& members, std::int64_t world_size) {
  std::set<std::int64_t> seen;
  for (const std::int64_t rank : members) {
    if (rank < 0 || rank >= world_size || !seen.insert(rank).second) {
      throw UsageError(str_cat("a process group of ranks ", RankSet::of(members).to_string(),
                               " is not one: rank ", rank,
                               rank < 0 || rank >= world_size
                                   ? str_cat(" is outside of the world of ", world_size, " ranks.")
                                   : std::string(" is in it twice.")));
    }
  }
  if (members.empty()) {
    throw UsageError("a process group needs at least one member.");
  }
}

Members first_ranks(std::int64_t world_size) {
  Members ranks(static_cast<std::size_t>(world_size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

// Members of a group that nobody took note of, or nothing; sets the world's size where it is known.
Members find_or_assume_members(const std::string& name, std::int64_t group_size,
                               std::int64_t* world_size) {
  const std::int64_t num_ranks = *world_size;
  Members members;
  if (const FindMembers find = find_members.load()) {
    members = find(name, world_size);
  }
  return members.empty() && group_size == num_ranks ? first_ranks(num_ranks) : members;
}

}  // namespace

std::optional<std::string> given_label(const std::string& description) {
  if (description == "default_pg") {
    return "world";
  }
  // PyTorch says "undefined" of a group that the program gave no description.
  const bool is_given = !description.empty() && description != "undefined";
  return is_given ? std::optional(description) : std::nullopt;
}

void GroupFamilies::add(const std::string& name, const Members& members, std::int64_t world_size,
                        const std::string& label, GroupMaker maker) {
  check_members(members, world_size);
  const std::lock_guard lock(mutex_);
  world_size_ = world_size;
  Entry& entry = entries_[name];
  entry = Entry();
  entry.ordinal = maker == GroupMaker::kTorch ? ++num_made_[members] : 0;
  entry.members = members;
  entry.label = label_of(label, members);
  ++generation_;
}

void GroupFamilies::declare_family(const std::string& name,
                                   const std::vector<std::string>& family) {
  const std::lock_guard lock(mutex_);
  const auto find = [this](const std::string& wanted) -> Entry& {
    const auto found = entries_.find(wanted);
    if (found == entries_.end()) {
      throw UsageError(str_cat("there is no process group \"", wanted, "\"."));
    }
    return found->second;
  };
  std::vector<Members> groups;
  std::set<std::int64_t> seen;
  for (const std::string& other : family) {
    const Members& members = find(other).members;
    for (const std::int64_t rank : members) {
      if (!seen.insert(rank).second || members.size() != find(family.front()).members.size()) {
        throw UsageError(str_cat("groups of one family must have one size and share no rank; \"",
                                 other, "\" (ranks ", RankSet::of(members).to_string(),
                                 ") does not go with the groups before it."));
      }
    }
    groups.push_back(members);
  }
  Entry& entry = find(name);
  if (entry.ordinal > 0) {
    --num_made_[entry.members];
    entry.ordinal = 0;
  }
  entry.declared = GroupFamily::explicit_groups(groups);
  entry.resolved = nullptr;
}

GroupFamily GroupFamilies::family_of(const Entry& entry) const {
  if (entry.declared) {
    return *entry.declared;
  }
  if (entry.ordinal == 0) {
    return GroupFamily::single(entry.members);
  }
  GroupFamily family = GroupFamily::complete(entry.members, world_size_);
  for (std::int64_t group = 0; group < family.num_groups(); ++group) {
    const auto members = family.members(group);
    const auto made = num_made_.find(Members(members.begin(), members.end()));
    if (made == num_made_.end() || made->second < entry.ordinal) {
      return GroupFamily::single(entry.members);
    }
  }
  return family;
}

void GroupFamilies::close(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found != entries_.end()) {
    found->second.is_closed = true;
  }
}

std::shared_ptr<const Group> GroupFamilies::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    return nullptr;
  }
  Entry& entry = found->second;
  if (entry.is_closed) {
    throw CollectiveError(str_cat("group \"", entry.label, "\" (ranks ",
                                  RankSet::of(entry.members).to_string(),
                                  "): used after it was shut down. Make a new group."));
  }
  if (entry.resolved == nullptr || entry.generation != generation_) {
    entry.generation = generation_;
    entry.resolved =
        std::make_shared<Group>(name, entry.label, RankRuns::of(entry.members), family_of(entry));
  }
  return entry.resolved;
}

std::int64_t GroupFamilies::world_size() const {
  const std::lock_guard lock(mutex_);
  return world_size_;
}

std::vector<std::string> GroupFamilies::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) {
    names.push_back(name);
  }
  return names;
}

void GroupFamilies::clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
  num_made_.clear();
  world_size_ = 0;
}

GroupFamilies& group_families() {
  static GroupFamilies families;
  return families;
}

void set_find_members(FindMembers function) noexcept { find_members.store(function); }

Members members_of_group(const std::string& name, std::int64_t group_size) {
  std::int64_t world_size = group_size;
  return find_or_assume_members(name, group_size, &world_size);
}

std::shared_ptr<const Group> resolve_group(const std::string& name, std::int64_t group_size,
                                           std::int64_t num_ranks) {
  if (auto known = group_families().find(name)) {
    return known;
  }
  std::int64_t world_size = num_ranks;
  const Members members = find_or_assume_members(name, group_size, &world_size);
  if (members.empty()) {
    std::string known_names;
    for (const std::string& known : group_families().names()) {
      known_names += str_cat(known_names.empty() ? "" : ", ", "\"", known, "\"");
    }
    throw CollectiveError(str_cat(
        "there is no process group \"", name, "\"; ",
        known_names.empty() ? std::string("none was made") : str_cat("there are ", known_names),
        ". Make it with `torch.distributed.new_group` or a DeviceMesh first."));
  }
  const bool is_world = static_cast<std::int64_t>(members.size()) == world_size;
  return std::make_shared<Group>(name, label_of(is_world ? "world" : "", members),
                                 RankRuns::of(members), GroupFamily::complete(members, world_size));
}

}  // namespace polyrank
