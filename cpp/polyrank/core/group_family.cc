#include <polyrank/core/errors.h>
#include <polyrank/core/group_family.h>
#include <polyrank/core/layout.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

namespace polyrank {

struct GroupFamily::Rep {
  std::int64_t group_size = 0;
  std::vector<std::int64_t> members;  // group after group
  RankSet ranks;
  std::vector<std::int64_t> place_of_index;  // index in `ranks` -> index in `members`

  // Index in `members`, or -1.
  std::int64_t place_of(std::int64_t rank) const {
    return ranks.contains(rank) ? place_of_index[static_cast<std::size_t>(ranks.index_of(rank))]
                                : -1;
  }
};

// Families are few (a program makes each of its groups once) and small beside what uses them, so
// they stay for the life of the process.
struct GroupFamily::Interner {
  std::mutex mutex;
  std::map<std::pair<std::int64_t, std::vector<std::int64_t>>, std::shared_ptr<const Rep>> known;

  static Interner& instance() {
    static auto* interner = new Interner();  // handles may outlive static destruction
    return *interner;
  }
};

GroupFamily GroupFamily::intern(std::vector<std::vector<std::int64_t>> groups) {
  if (groups.empty() || groups.front().empty()) {
    throw UsageError("a process group needs at least one rank");
  }
  std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    return *std::min_element(a.begin(), a.end()) < *std::min_element(b.begin(), b.end());
  });
  auto rep = std::make_shared<Rep>();
  rep->group_size = static_cast<std::int64_t>(groups.front().size());
  for (const auto& group : groups) {
    if (static_cast<std::int64_t>(group.size()) != rep->group_size) {
      throw UsageError(str_cat("groups of one family have equal size; got one of ", rep->group_size,
                               " ranks and one of ", group.size()));
    }
    rep->members.insert(rep->members.end(), group.begin(), group.end());
  }
  rep->ranks = RankSet::of(rep->members);
  if (rep->ranks.size() != static_cast<std::int64_t>(rep->members.size())) {
    throw UsageError(str_cat("a rank is repeated: groups of one family are disjoint, but ",
                             rep->members.size(), " members were given for ranks ",
                             rep->ranks.to_string()));
  }
  rep->place_of_index.resize(rep->members.size());
  for (std::size_t place = 0; place < rep->members.size(); ++place) {
    rep->place_of_index[static_cast<std::size_t>(rep->ranks.index_of(rep->members[place]))] =
        static_cast<std::int64_t>(place);
  }
  Interner& interner = Interner::instance();
  const std::lock_guard<std::mutex> lock(interner.mutex);
  auto key = std::pair(rep->group_size, rep->members);
  return GroupFamily(interner.known.emplace(std::move(key), std::move(rep)).first->second);
}

GroupFamily GroupFamily::single(std::span<const std::int64_t> members) {
  return intern({{members.begin(), members.end()}});
}

GroupFamily GroupFamily::explicit_groups(std::span<const std::vector<std::int64_t>> groups) {
  return intern({groups.begin(), groups.end()});
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
  return intern(std::move(groups));
}

std::int64_t GroupFamily::num_groups() const noexcept {
  return static_cast<std::int64_t>(rep_->members.size()) / rep_->group_size;
}

std::int64_t GroupFamily::group_size() const noexcept { return rep_->group_size; }

std::span<const std::int64_t> GroupFamily::members(std::int64_t group) const noexcept {
  const auto size = static_cast<std::size_t>(rep_->group_size);
  return std::span(rep_->members).subspan(static_cast<std::size_t>(group) * size, size);
}

std::int64_t GroupFamily::member(std::int64_t group, std::int32_t position) const noexcept {
  return members(group)[static_cast<std::size_t>(position)];
}

std::int64_t GroupFamily::group_of(std::int64_t rank) const noexcept {
  const std::int64_t place = rep_->place_of(rank);
  return place < 0 ? -1 : place / rep_->group_size;
}

std::int32_t GroupFamily::position_of(std::int64_t rank) const noexcept {
  const std::int64_t place = rep_->place_of(rank);
  return place < 0 ? -1 : static_cast<std::int32_t>(place % rep_->group_size);
}

const RankSet& GroupFamily::ranks() const noexcept { return rep_->ranks; }

std::string GroupFamily::to_string() const {
  constexpr std::int64_t kShown = 8;
  std::ostringstream out;
  for (std::int64_t group = 0; group < std::min(num_groups(), kShown); ++group) {
    out << (group == 0 ? "[" : " [");
    const auto ranks = members(group);
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (i == static_cast<std::size_t>(2 * kShown)) {
        out << ",… (" << ranks.size() << " ranks)";
        break;
      }
      out << (i == 0 ? "" : ",") << ranks[i];
    }
    out << "]";
  }
  if (num_groups() > kShown) {
    out << " … (" << num_groups() << " groups)";
  }
  return out.str();
}

}  // namespace polyrank
