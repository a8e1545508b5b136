#include <polyrank/api/lockstep_world.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/independent_group.h>
#include <polyrank/dist2/lockstep_group.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/exchange/table_backend.h>
#include <polyrank/world/group_families.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <set>
#include <utility>

namespace polyrank::dist2 {

namespace {

using Members = std::vector<std::int64_t>;

std::atomic<std::int64_t> num_groups = 0;

std::string next_name() { return str_cat("dist2:lockstep:", num_groups++); }

// What a collective reaches that no lockstep mode has seen.
class UnreachedBackend final : public TableBackend {
 public:
  using TableBackend::TableBackend;
  const std::string getBackendName() const override { return "lockstep"; }

 protected:
  Work launch(CollectiveCall call, c10d::OpType /*op_type*/) override { refuse(call); }
  Work launch_message(CollectiveCall call, c10d::OpType /*op_type*/) override { refuse(call); }

 private:
  [[noreturn]] static void refuse(const CollectiveCall& call) {
    raise(UsageError(str_cat(to_string(call.spec->kind),
                             " on a group of the lockstep world, whose mode is not on")));
  }
};

std::int64_t value_on(const c10::SymInt& number, std::int64_t rank) {
  const LocalIntNode* const node = as_local_int(number);
  return node == nullptr ? number.expect_int() : node->value(node->partition().cohort_of(rank));
}

// The members of the group that `rank` asks for; none if it does not ask to be in it.
Members part_of_rank(const GroupFamily& family, std::int64_t rank,
                     const std::vector<c10::SymInt>& places) {
  const std::int64_t group = family.group_of(rank);
  if (group < 0) {
    return {};
  }
  std::set<std::int64_t> sorted;
  for (const c10::SymInt& place : places) {
    const std::int64_t value = value_on(place, rank);
    if (value < 0 || value >= family.group_size() || !sorted.insert(value).second) {
      throw UsageError(str_cat("rank ", rank, ": a group of ", family.group_size(),
                               " ranks can't be split into a group with rank ", value,
                               sorted.contains(value) ? " twice" : "", "; valid: 0..",
                               family.group_size() - 1));
    }
  }
  Members members;
  for (const std::int64_t place : sorted) {
    members.push_back(family.member(group, place));
  }
  const bool is_in = std::find(members.begin(), members.end(), rank) != members.end();
  return is_in ? members : Members{};
}

// The groups that the ranks ask for, which must not overlap.
std::set<Members> parts_of(const Group& group, const std::vector<c10::SymInt>& places) {
  std::set<Members> parts;
  for (const std::int64_t rank : group.family().ranks()) {
    if (Members part = part_of_rank(group.family(), rank, places); !part.empty()) {
      parts.insert(std::move(part));
    }
  }
  std::map<std::int64_t, const Members*> part_of;
  for (const Members& part : parts) {
    for (const std::int64_t rank : part) {
      const auto [first, is_new] = part_of.emplace(rank, &part);
      if (!is_new) {
        throw CollectiveError(str_cat("group \"", group.label(),
                                      "\": ranks disagree on the groups to split it into: ",
                                      RankSet::of(*first->second).to_string(), " and ",
                                      RankSet::of(part).to_string(), " both have rank ", rank));
      }
    }
  }
  return parts;
}

}  // namespace

LockstepGroup::LockstepGroup(Store store, int size, c10::DeviceType device)
    : c10d::ProcessGroup(std::move(store), /*rank=*/0, size), device_(device) {
  constexpr auto kType = c10d::ProcessGroup::BackendType::CUSTOM;
  const auto backend = c10::make_intrusive<UnreachedBackend>(0, size);
  setDefaultBackend(kType);
  for (const c10::DeviceType type : {device, c10::kCPU, c10::kCUDA}) {
    setBackend(type, kType, c10::static_intrusive_pointer_cast<c10d::Backend>(backend));
  }
}

c10::intrusive_ptr<LockstepGroup> LockstepGroup::of_all_ranks(const Store& store,
                                                              std::int64_t num_ranks,
                                                              c10::Device device) {
  const std::string name = next_group_name();
  Members members(static_cast<std::size_t>(num_ranks));
  std::iota(members.begin(), members.end(), 0);
  group_families().add(name, members, num_ranks, name);
  auto group =
      c10::make_intrusive<LockstepGroup>(store, static_cast<int>(num_ranks), device.type());
  group->setGroupName(name);
  return group;
}

c10::SymInt LockstepGroup::rank_of_each() const { return rank_in_group(getGroupName(), getSize()); }

dist2::ProcessGroup LockstepGroup::split(const std::vector<c10::SymInt>& ranks,
                                         const std::string& description) {
  const std::int64_t world_size = group_families().world_size();
  if (ranks.empty()) {
    throw UsageError("split_group was given no ranks");
  }
  const std::set<Members> parts =
      parts_of(*resolve_group(getGroupName(), getSize(), world_size), ranks);
  std::vector<std::string> names;
  for (const Members& part : parts) {
    names.push_back(next_name());
    group_families().add(names.back(), part, world_size, description);
  }
  if (names.empty()) {
    return {};
  }
  if (names.size() > 1) {
    group_families().declare_family(names.front(), names);
  }
  auto group = c10::make_intrusive<LockstepGroup>(store_, static_cast<int>(ranks.size()), device_);
  group->setGroupName(names.front());
  group->setGroupDesc(description);
  return group;
}

dist2::ProcessGroup LockstepGroup::splitGroup(
    const std::vector<int>& ranks, const std::optional<std::chrono::milliseconds>& /*timeout*/,
    const std::optional<c10::intrusive_ptr<c10d::Backend::Options>>& /*options*/,
    const std::optional<std::string>& /*name*/, const std::optional<std::string>& description,
    const std::optional<std::vector<c10::Device>>& /*devices*/) {
  return split({ranks.begin(), ranks.end()}, description.value_or(""));
}

dist2::ProcessGroup LockstepGroup::mergeRemoteGroup(const Store& /*store*/,
                                                    const MergeOptions& /*options*/,
                                                    const int& /*size*/) {
  throw UnsupportedOpError(
      "merge_remote_group in lockstep: who the remote ranks are is agreed through a store, one "
      "rank after the other, and in lockstep all come at once. Make a new group of all ranks and "
      "split it, or run the program in the threads world.");
}

void LockstepGroup::shutdown() { group_families().close(getGroupName()); }

}  // namespace polyrank::dist2
