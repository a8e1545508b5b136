// Dimensions of a mesh as strides of its ranks.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/group/layout.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace polyrank {

// Sizes and strides of the dimensions `dims`, in that order, of a mesh whose ranks 0..n-1 lie in
// row-major order: {{2, 1}} for the second dimension of a mesh (2, 2).
// Requires: `dims` are distinct dimensions of `shape`, whose sizes are positive
// Throws: UsageError if a requirement is not met.
POLYRANK_API std::vector<LayoutDim> mesh_layout(std::span<const std::int64_t> shape,
                                                std::span<const std::size_t> dims);

}  // namespace polyrank
