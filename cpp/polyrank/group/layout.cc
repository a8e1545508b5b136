#include <polyrank/group/layout.h>

#include <algorithm>
#include <utility>

namespace polyrank {

std::optional<Layout> Layout::from_offsets(std::span<const std::int64_t> offsets) {
  std::vector<LayoutDim> dims;
  std::size_t covered = 1;  // offsets explained so far: a prefix of the sorted list
  while (covered < offsets.size()) {
    // The first offset that is not explained starts the second copy of what is.
    const std::int64_t stride = offsets[covered];
    if (!dims.empty() && stride % (dims.back().size * dims.back().stride) != 0) {
      return std::nullopt;
    }
    std::int64_t copies = 1;
    while (covered * static_cast<std::size_t>(copies) < offsets.size() &&
           offsets[covered * static_cast<std::size_t>(copies)] == copies * stride) {
      ++copies;
    }
    dims.push_back({copies, stride});
    covered *= static_cast<std::size_t>(copies);
  }
  Layout layout(std::move(dims));
  if (covered != offsets.size() || !std::ranges::equal(layout.offsets(), offsets)) {
    return std::nullopt;
  }
  return layout;
}

std::int64_t Layout::size() const noexcept {
  std::int64_t size = 1;
  for (const LayoutDim& dim : dims_) {
    size *= dim.size;
  }
  return size;
}

std::vector<std::int64_t> Layout::offsets() const {
  std::vector<std::int64_t> offsets{0};
  for (const LayoutDim& dim : dims_) {
    const std::size_t block = offsets.size();
    for (std::int64_t i = 1; i < dim.size; ++i) {
      for (std::size_t k = 0; k < block; ++k) {
        offsets.push_back(offsets[k] + i * dim.stride);
      }
    }
  }
  return offsets;
}

std::optional<Layout> Layout::complement(std::int64_t world_size) const {
  std::vector<LayoutDim> dims;
  std::int64_t reached = 1;  // 0..reached-1 are tiled by the dimensions so far
  const auto fill_up_to = [&](std::int64_t stride) {
    if (stride % reached != 0) {
      return false;
    }
    if (stride > reached) {
      dims.push_back({stride / reached, reached});
    }
    return true;
  };
  for (const LayoutDim& dim : dims_) {
    if (!fill_up_to(dim.stride)) {
      return std::nullopt;
    }
    reached = dim.stride * dim.size;
  }
  if (reached > world_size || !fill_up_to(world_size)) {
    return std::nullopt;
  }
  return Layout(std::move(dims));
}

}  // namespace polyrank
