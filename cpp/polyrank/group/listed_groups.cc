#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/group/listed_groups.h>

#include <algorithm>
#include <cstddef>
#include <tuple>

namespace polyrank {

ListedGroups::ListedGroups(std::vector<std::vector<std::int64_t>> groups) {
  if (groups.empty() || groups.front().empty()) {
    throw UsageError("a process group needs at least one rank");
  }
  group_size_ = static_cast<std::int64_t>(groups.front().size());
  for (const auto& group : groups) {
    if (static_cast<std::int64_t>(group.size()) != group_size_) {
      throw UsageError(str_cat("groups of one family have equal size; got one of ", group_size_,
                               " ranks and one of ", group.size()));
    }
  }
  std::ranges::sort(groups, {}, [](const auto& group) { return *std::ranges::min_element(group); });
  for (const auto& group : groups) {
    members_.insert(members_.end(), group.begin(), group.end());
  }
  ranks_ = RankSet::of(members_);
  if (ranks_.size() != static_cast<std::int64_t>(members_.size())) {
    throw UsageError(str_cat("a rank is repeated: groups of one family are disjoint, but ",
                             members_.size(), " members were given for ranks ",
                             ranks_.to_string()));
  }
  index_of_rank_.resize(members_.size());
  for (std::size_t index = 0; index < members_.size(); ++index) {
    index_of_rank_[static_cast<std::size_t>(ranks_.index_of(members_[index]))] =
        static_cast<std::int64_t>(index);
  }
}

std::int64_t ListedGroups::num_groups() const noexcept {
  return static_cast<std::int64_t>(members_.size()) / group_size_;
}

GroupPlace ListedGroups::place_of(std::int64_t rank) const {
  if (!ranks_.contains(rank)) {
    return {};
  }
  const std::int64_t index = index_of_rank_[static_cast<std::size_t>(ranks_.index_of(rank))];
  return {index / group_size_, static_cast<std::int32_t>(index % group_size_)};
}

std::int64_t ListedGroups::member(std::int64_t group, std::int64_t position) const noexcept {
  return members_[static_cast<std::size_t>(group * group_size_ + position)];
}

std::span<const std::int64_t> ListedGroups::members(std::int64_t group) const noexcept {
  return std::span(members_).subspan(static_cast<std::size_t>(group * group_size_),
                                     static_cast<std::size_t>(group_size_));
}

bool ListedGroups::operator<(const ListedGroups& other) const noexcept {
  return std::tie(group_size_, members_) < std::tie(other.group_size_, other.members_);
}

}  // namespace polyrank
