#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/group/fibers.h>

#include <algorithm>
#include <ranges>
#include <utility>

namespace polyrank {

namespace {

std::vector<LayoutDim> without_single_ranks(std::vector<LayoutDim> dims) {
  std::erase_if(dims, [](const LayoutDim& dim) { return dim.size == 1; });
  return dims;
}

std::vector<LayoutDim> sorted_by_stride(std::vector<LayoutDim> dims) {
  std::ranges::sort(dims, {}, &LayoutDim::stride);
  return dims;
}

// Strides that are multiples of what the dimensions below them cover: then a rank's place on each
// dimension is a digit of the rank.
void check_tiles(const std::vector<LayoutDim>& ascending, std::int64_t num_ranks) {
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

Fibers::Fibers(std::vector<LayoutDim> dims, std::int64_t num_ranks)
    : dims_(without_single_ranks(std::move(dims))),
      ascending_(sorted_by_stride(dims_)),
      num_ranks_(num_ranks) {
  check_tiles(ascending_, num_ranks);
  for (const LayoutDim& dim : dims_) {
    group_size_ *= dim.size;
  }
}

// The group's index with a digit of 0 put in for each dimension.
std::int64_t Fibers::lowest_rank(std::int64_t group) const noexcept {
  for (const LayoutDim& dim : ascending_) {
    group = group / dim.stride * dim.stride * dim.size + group % dim.stride;
  }
  return group;
}

GroupPlace Fibers::place_of(std::int64_t rank) const noexcept {
  if (rank < 0 || rank >= num_ranks_) {
    return {};
  }
  std::int64_t position = 0;
  for (const LayoutDim& dim : dims_) {
    position = position * dim.size + rank / dim.stride % dim.size;
  }
  std::int64_t group = rank;  // without the dimensions' digits, the highest first
  for (const LayoutDim& dim : std::views::reverse(ascending_)) {
    group = group / (dim.stride * dim.size) * dim.stride + group % dim.stride;
  }
  return {group, static_cast<std::int32_t>(position)};
}

std::int64_t Fibers::member(std::int64_t group, std::int64_t position) const noexcept {
  std::int64_t rank = lowest_rank(group);
  for (const LayoutDim& dim : std::views::reverse(dims_)) {
    rank += position % dim.size * dim.stride;
    position /= dim.size;
  }
  return rank;
}

RankRuns Fibers::runs(std::int64_t group) const {
  if (dims_.size() <= 1) {
    const std::int64_t step = dims_.empty() ? 1 : dims_.front().stride;
    return RankRuns::of_run({.first = lowest_rank(group), .count = group_size_, .step = step});
  }
  std::vector<std::int64_t> ranks;
  ranks.reserve(static_cast<std::size_t>(group_size_));
  for (std::int64_t position = 0; position < group_size_; ++position) {
    ranks.push_back(member(group, position));
  }
  return RankRuns::of(ranks);
}

bool Fibers::operator<(const Fibers& other) const noexcept {
  const auto numbers = [](const LayoutDim& dim) { return std::pair(dim.size, dim.stride); };
  return num_ranks_ != other.num_ranks_
             ? num_ranks_ < other.num_ranks_
             : std::ranges::lexicographical_compare(dims_, other.dims_, {}, numbers, numbers);
}

}  // namespace polyrank
