#include <polyrank/core/errors.h>
#include <polyrank/core/group_members.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>
#include <ranges>
#include <utility>

namespace polyrank {

namespace {

std::int64_t digit(const LayoutDim& dim, std::int64_t rank) noexcept {
  return rank / dim.stride % dim.size;
}

// Strides that are multiples of what the dimensions below them cover: then a rank's place on each
// dimension is a digit of the rank.
void check_tiles(const std::vector<LayoutDim>& dims, std::int64_t num_ranks) {
  std::vector<LayoutDim> ascending = dims;
  std::sort(ascending.begin(), ascending.end(),
            [](const LayoutDim& a, const LayoutDim& b) { return a.stride < b.stride; });
  std::int64_t covered = 1;
  for (const LayoutDim& dim : ascending) {
    if (dim.size < 1 || dim.stride < 1 || dim.stride % covered != 0) {
      throw UsageError(str_cat("a mesh dimension of ", dim.size, " steps of ", dim.stride,
                               " ranks overlaps with the others; each stride must be a multiple of "
                               "what the smaller ones cover, here ",
                               covered, "."));
    }
    covered = dim.stride * dim.size;
  }
  if (num_ranks < 1 || num_ranks % covered != 0) {
    throw UsageError(str_cat("groups that cover ", covered, " ranks do not tile a mesh of ",
                             num_ranks, " ranks."));
  }
}

}  // namespace

GroupMembers GroupMembers::listed(std::vector<std::int64_t> members) {
  if (members.empty()) {
    throw UsageError("a process group needs at least one rank.");
  }
  GroupMembers group;
  group.size_ = static_cast<std::int64_t>(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members[i] < 0 ||
        !group.position_of_.emplace(members[i], static_cast<std::int64_t>(i)).second) {
      throw UsageError(str_cat("rank ", members[i], " of a process group is ",
                               members[i] < 0 ? "negative." : "repeated."));
    }
  }
  group.listed_ = std::move(members);
  return group;
}

GroupMembers GroupMembers::fibers(std::vector<LayoutDim> dims, std::int64_t num_ranks) {
  std::erase_if(dims, [](const LayoutDim& dim) { return dim.size == 1; });
  check_tiles(dims, num_ranks);
  GroupMembers group;
  group.size_ = 1;
  for (const LayoutDim& dim : dims) {
    group.size_ *= dim.size;
  }
  group.dims_ = std::move(dims);
  group.num_ranks_ = num_ranks;
  return group;
}

bool GroupMembers::has_group(std::int64_t rank) const noexcept {
  return num_ranks_ == 0 ? position_of_.contains(rank) : rank >= 0 && rank < num_ranks_;
}

std::int64_t GroupMembers::first_of(std::int64_t rank) const noexcept {
  for (const LayoutDim& dim : dims_) {
    rank -= digit(dim, rank) * dim.stride;
  }
  return rank;
}

std::int64_t GroupMembers::position_of(std::int64_t rank, std::int64_t own_rank) const noexcept {
  if (num_ranks_ == 0) {
    const auto found = position_of_.find(rank);
    return found == position_of_.end() || !has_group(own_rank) ? -1 : found->second;
  }
  if (!has_group(rank) || !has_group(own_rank) || first_of(rank) != first_of(own_rank)) {
    return -1;
  }
  std::int64_t position = 0;
  for (const LayoutDim& dim : dims_) {
    position = position * dim.size + digit(dim, rank);
  }
  return position;
}

std::int64_t GroupMembers::member(std::int64_t position, std::int64_t own_rank) const noexcept {
  if (num_ranks_ == 0) {
    return listed_[static_cast<std::size_t>(position)];
  }
  std::int64_t rank = first_of(own_rank);
  for (const LayoutDim& dim : std::views::reverse(dims_)) {
    rank += position % dim.size * dim.stride;
    position /= dim.size;
  }
  return rank;
}

RankRuns GroupMembers::runs(std::int64_t own_rank) const {
  if (num_ranks_ == 0) {
    return RankRuns::of(listed_);
  }
  if (dims_.size() <= 1) {
    const std::int64_t step = dims_.empty() ? 1 : dims_.front().stride;
    return RankRuns::of_run({.first = first_of(own_rank), .count = size_, .step = step});
  }
  std::vector<std::int64_t> ranks;
  ranks.reserve(static_cast<std::size_t>(size_));
  for (std::int64_t position = 0; position < size_; ++position) {
    ranks.push_back(member(position, own_rank));
  }
  return RankRuns::of(ranks);
}

}  // namespace polyrank
