#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/group/group_family.h>
#include <polyrank/group/mesh_layout.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Shape = std::vector<std::int64_t>;
using Dims = std::vector<std::size_t>;

Shape coordinates_of(std::int64_t rank, const Shape& shape) {
  Shape coordinates(shape.size());
  for (std::size_t dim = shape.size(); dim-- > 0;) {
    coordinates[dim] = rank % shape[dim];
    rank /= shape[dim];
  }
  return coordinates;
}

Shape pick(const Shape& coordinates, const Dims& dims) {
  Shape picked;
  for (const std::size_t dim : dims) {
    picked.push_back(coordinates[dim]);
  }
  return picked;
}

// The groups of a mesh that differ in `dims` alone, by the layout.
std::vector<Shape> mesh_fibers(const Shape& shape, const Dims& dims) {
  std::int64_t num_ranks = 1;
  for (const std::int64_t size : shape) {
    num_ranks *= size;
  }
  const GroupFamily family = GroupFamily::fibers(mesh_layout(shape, dims), num_ranks);
  std::vector<Shape> groups;
  groups.reserve(static_cast<std::size_t>(family.num_groups()));
  for (std::int64_t group = 0; group < family.num_groups(); ++group) {
    groups.push_back(family.runs(group).to_vector());
  }
  return groups;
}

// Naive, by the coordinates of each rank: (1) each rank is in exactly one group; (2) ranks of one
// group have the same coordinates in all other dimensions; (3) coordinates in `dims`, read in that
// order, grow along a group; (4) groups are sorted by their lowest rank.
void check_fibers(const Shape& shape, const Dims& dims) {
  Dims others;
  std::int64_t num_ranks = 1;
  for (std::size_t dim = 0; dim < shape.size(); ++dim) {
    num_ranks *= shape[dim];
    if (std::find(dims.begin(), dims.end(), dim) == dims.end()) {
      others.push_back(dim);
    }
  }
  std::set<std::int64_t> seen;
  std::int64_t lowest_before = -1;
  for (const auto& group : mesh_fibers(shape, dims)) {
    const Shape first = coordinates_of(group.front(), shape);
    Shape before;
    for (const std::int64_t rank : group) {
      EXPECT_TRUE(seen.insert(rank).second && rank >= 0 && rank < num_ranks);  // (1)
      const Shape coordinates = coordinates_of(rank, shape);
      EXPECT_EQ(pick(coordinates, others), pick(first, others));        // (2)
      EXPECT_TRUE(before.empty() || before < pick(coordinates, dims));  // (3)
      before = pick(coordinates, dims);
    }
    const std::int64_t lowest = *std::min_element(group.begin(), group.end());
    EXPECT_LT(lowest_before, lowest);  // (4)
    lowest_before = lowest;
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(num_ranks));  // (1)
}

TEST(MeshLayout, HoldTheirLawsInAnyOrderOfDims) {
  for (const Shape& shape : {Shape{6}, Shape{2, 3}, Shape{1, 4}, Shape{2, 3, 4}, Shape{3, 1, 2}}) {
    Dims dims(shape.size());
    for (std::size_t dim = 0; dim < dims.size(); ++dim) {
      dims[dim] = dim;
    }
    do {
      for (std::size_t count = 0; count <= dims.size(); ++count) {
        check_fibers(shape, Dims(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(count)));
      }
    } while (std::next_permutation(dims.begin(), dims.end()));
  }
}

TEST(MeshLayout, Example) {
  EXPECT_THAT(mesh_fibers(Shape{2, 2}, Dims{1}), ElementsAre(Shape{0, 1}, Shape{2, 3}));
  EXPECT_THAT(mesh_fibers(Shape{2, 2}, Dims{0}), ElementsAre(Shape{0, 2}, Shape{1, 3}));
  EXPECT_THAT(mesh_fibers(Shape{2, 2}, Dims{1, 0}), ElementsAre(Shape{0, 2, 1, 3}));
}

TEST(MeshLayout, RefuseWhatIsNoMesh) {
  EXPECT_THAT([] { mesh_layout(Shape{2, 0}, Dims{0}); },
              ThrowsMessage<UsageError>(HasSubstr("mesh dimension 1 has size 0")));
  EXPECT_THAT([] { mesh_layout(Shape{2, 2}, Dims{2}); },
              ThrowsMessage<UsageError>(HasSubstr("mesh dimension 2 was named twice, or is none")));
  EXPECT_THAT([] { mesh_layout(Shape{2, 2}, Dims{1, 1}); },
              ThrowsMessage<UsageError>(HasSubstr("mesh dimension 1 was named twice")));
}

}  // namespace
}  // namespace polyrank
