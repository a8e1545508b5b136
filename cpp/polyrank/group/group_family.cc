#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/group/fibers.h>
#include <polyrank/group/group_family.h>
#include <polyrank/group/listed_groups.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <utility>
#include <variant>

namespace polyrank {

struct GroupFamily::Rep {
  std::variant<ListedGroups, Fibers> groups;
  bool operator<(const Rep& other) const noexcept { return groups < other.groups; }
};

// Families are few (a program makes each of its groups once) and small beside what uses them, so
// they stay for the life of the process.
struct GroupFamily::Interner {
  struct ByContent {
    bool operator()(const auto& left, const auto& right) const noexcept { return *left < *right; }
  };
  std::mutex mutex;
  std::set<std::shared_ptr<const Rep>, ByContent> known;

  static GroupFamily intern(Rep rep) {
    static auto* const interner = new Interner();  // handles may outlive static destruction
    auto made = std::make_shared<const Rep>(std::move(rep));
    const std::lock_guard lock(interner->mutex);
    return GroupFamily(*interner->known.insert(std::move(made)).first);
  }
};

GroupFamily GroupFamily::single(std::span<const std::int64_t> members) {
  std::vector<std::vector<std::int64_t>> one;
  one.emplace_back(members.begin(), members.end());
  return explicit_groups(one);
}

GroupFamily GroupFamily::explicit_groups(std::span<const std::vector<std::int64_t>> groups) {
  return Interner::intern(
      {ListedGroups(std::vector<std::vector<std::int64_t>>(groups.begin(), groups.end()))});
}

GroupFamily GroupFamily::fibers(std::vector<LayoutDim> dims, std::int64_t num_ranks) {
  return Interner::intern({Fibers(std::move(dims), num_ranks)});
}

GroupFamily GroupFamily::complete(std::span<const std::int64_t> members, std::int64_t world_size) {
  const RankSet ranks = RankSet::of(members);
  if (!ranks.empty() && ranks.max() >= world_size) {
    throw UsageError(str_cat("rank ", ranks.max(), " is outside of a world of ", world_size,
                             " ranks; valid: 0..", world_size - 1));
  }
  if (ranks.size() != static_cast<std::int64_t>(members.size()) || ranks.empty()) {
    return single(members);  // which says what is wrong
  }
  std::vector<std::int64_t> offsets = ranks.to_vector();
  const std::int64_t first = offsets.front();
  for (std::int64_t& offset : offsets) {
    offset -= first;
  }
  const auto layout = Layout::from_offsets(offsets);
  const auto complement = layout ? layout->complement(world_size) : std::nullopt;
  if (!complement) {
    return single(members);
  }
  const std::vector<std::int64_t> starts = complement->offsets();
  if (!std::binary_search(starts.begin(), starts.end(), first)) {
    return single(members);
  }
  std::vector<std::vector<std::int64_t>> groups;
  groups.reserve(starts.size());
  for (const std::int64_t start : starts) {
    groups.emplace_back();
    groups.back().reserve(members.size());
    for (const std::int64_t member : members) {
      groups.back().push_back(start + (member - first));
    }
  }
  return explicit_groups(groups);
}

std::int64_t GroupFamily::num_groups() const noexcept {
  return std::visit([](const auto& groups) { return groups.num_groups(); }, rep_->groups);
}

std::int64_t GroupFamily::group_size() const noexcept {
  return std::visit([](const auto& groups) { return groups.group_size(); }, rep_->groups);
}

std::int64_t GroupFamily::member(std::int64_t group, std::int64_t position) const noexcept {
  return std::visit([=](const auto& groups) { return groups.member(group, position); },
                    rep_->groups);
}

std::span<const std::int64_t> GroupFamily::members(std::int64_t group) const {
  const auto* const listed = std::get_if<ListedGroups>(&rep_->groups);
  if (listed == nullptr) {
    throw InternalError("groups along a mesh's dimensions keep no lists of their members");
  }
  return listed->members(group);
}

RankRuns GroupFamily::runs(std::int64_t group) const {
  return std::visit([=](const auto& groups) { return groups.runs(group); }, rep_->groups);
}

std::int64_t GroupFamily::group_of(std::int64_t rank) const noexcept {
  return std::visit([=](const auto& groups) { return groups.place_of(rank).group; }, rep_->groups);
}

std::int32_t GroupFamily::position_of(std::int64_t rank) const noexcept {
  return std::visit([=](const auto& groups) { return groups.place_of(rank).position; },
                    rep_->groups);
}

RankSet GroupFamily::ranks() const {
  return std::visit([](const auto& groups) { return groups.ranks(); }, rep_->groups);
}

std::string GroupFamily::to_string() const {
  constexpr std::int64_t kShown = 8;
  std::ostringstream out;
  for (std::int64_t group = 0; group < std::min(num_groups(), kShown); ++group) {
    out << (group == 0 ? "[" : " [");
    for (std::int64_t i = 0; i < group_size(); ++i) {
      if (i == 2 * kShown) {
        out << ",… (" << group_size() << " ranks)";
        break;
      }
      out << (i == 0 ? "" : ",") << member(group, i);
    }
    out << "]";
  }
  if (num_groups() > kShown) {
    out << " … (" << num_groups() << " groups)";
  }
  return out.str();
}

}  // namespace polyrank
