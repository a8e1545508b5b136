#include <polyrank/core/errors.h>
#include <polyrank/core/mesh_fibers.h>
#include <polyrank/core/str_cat.h>

#include <algorithm>

namespace polyrank {

namespace {

using Ranks = std::vector<std::int64_t>;

void check_mesh(std::span<const std::int64_t> shape, std::span<const std::size_t> dims) {
  for (std::size_t dim = 0; dim < shape.size(); ++dim) {
    if (shape[dim] < 1) {
      throw UsageError(str_cat("mesh dimension ", dim, " has size ", shape[dim],
                               "; each needs 1 or more ranks."));
    }
  }
  for (auto dim = dims.begin(); dim != dims.end(); ++dim) {
    if (*dim >= shape.size() || std::find(dims.begin(), dim, *dim) != dim) {
      throw UsageError(str_cat("mesh dimension ", *dim,
                               " was named twice, or is none of the mesh's ", shape.size(), "."));
    }
  }
}

// Each of `ranks`, followed by those `stride`, 2 * `stride`, … further on.
Ranks extend(const Ranks& ranks, std::int64_t size, std::int64_t stride) {
  Ranks extended;
  extended.reserve(ranks.size() * static_cast<std::size_t>(size));
  for (const std::int64_t rank : ranks) {
    for (std::int64_t step = 0; step < size; ++step) {
      extended.push_back(rank + step * stride);
    }
  }
  return extended;
}

}  // namespace

std::vector<Ranks> mesh_fibers(std::span<const std::int64_t> shape,
                               std::span<const std::size_t> dims) {
  check_mesh(shape, dims);
  Ranks strides(shape.size(), 1);
  for (std::size_t dim = shape.size(); dim-- > 1;) {
    strides[dim - 1] = strides[dim] * shape[dim];
  }
  Ranks first_group{0};
  for (const std::size_t dim : dims) {
    first_group = extend(first_group, shape[dim], strides[dim]);
  }
  Ranks lowest_ranks{0};
  for (std::size_t dim = 0; dim < shape.size(); ++dim) {
    if (std::find(dims.begin(), dims.end(), dim) == dims.end()) {
      lowest_ranks = extend(lowest_ranks, shape[dim], strides[dim]);
    }
  }
  std::vector<Ranks> groups;
  groups.reserve(lowest_ranks.size());
  for (const std::int64_t lowest : lowest_ranks) {
    Ranks& group = groups.emplace_back(first_group);
    for (std::int64_t& rank : group) {
      rank += lowest;
    }
  }
  return groups;
}

}  // namespace polyrank
