#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/group/mesh_layout.h>

#include <algorithm>

namespace polyrank {

namespace {

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

}  // namespace

std::vector<LayoutDim> mesh_layout(std::span<const std::int64_t> shape,
                                   std::span<const std::size_t> dims) {
  check_mesh(shape, dims);
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t dim = shape.size(); dim-- > 1;) {
    strides[dim - 1] = strides[dim] * shape[dim];
  }
  std::vector<LayoutDim> layout;
  layout.reserve(dims.size());
  for (const std::size_t dim : dims) {
    layout.push_back({shape[dim], strides[dim]});
  }
  return layout;
}

}  // namespace polyrank
