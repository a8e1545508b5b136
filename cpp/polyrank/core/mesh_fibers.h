// The process groups of an n-dimensional mesh of ranks.
#pragma once

#include <polyrank/core/export.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace polyrank {

// The groups that differ in `dims` alone, of a mesh whose ranks 0..n-1 lie in row-major order:
// {{0, 1}, {2, 3}} along the second dimension of a mesh (2, 2).
// Requires: `dims` are distinct dimensions of `shape`, whose sizes are positive
// Ensures: (1) each rank is in exactly one group; (2) ranks of one group have the same coordinates
//          in all other dimensions; (3) coordinates in `dims`, read in that order, grow along a
//          group; (4) groups are sorted by their lowest rank.
// Throws: UsageError if a requirement is not met.
POLYRANK_API std::vector<std::vector<std::int64_t>> mesh_fibers(std::span<const std::int64_t> shape,
                                                                std::span<const std::size_t> dims);

}  // namespace polyrank
