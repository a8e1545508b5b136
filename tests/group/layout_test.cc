#include <core/sample_partitions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/group/layout.h>

#include <map>
#include <set>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// All layouts whose offsets are below `bound`, by their offsets: an independent enumeration that
// follows the invariants in layout.h.
void add_layouts(std::int64_t reach, const Ranks& offsets, std::int64_t bound,
                 std::set<Ranks>* layouts) {
  layouts->insert(offsets);
  for (std::int64_t stride = reach; stride < bound; stride += reach) {
    Ranks longer = offsets;
    for (std::int64_t size = 2; offsets.back() + (size - 1) * stride < bound; ++size) {
      for (const std::int64_t offset : offsets) {
        longer.push_back(offset + (size - 1) * stride);
      }
      add_layouts(size * stride, longer, bound, layouts);
    }
  }
}

std::set<Ranks> all_layouts(std::int64_t bound) {
  std::set<Ranks> layouts;
  add_layouts(1, {0}, bound, &layouts);
  return layouts;
}

// Invariants of layout.h by their numbers, and what from_offsets() promises.
void check_layout(const Layout& layout, const Ranks& offsets) {
  EXPECT_EQ(layout.offsets(), offsets);
  EXPECT_EQ(layout.size(), static_cast<std::int64_t>(offsets.size()));
  std::int64_t reach = 1;
  for (const LayoutDim& dim : layout.dims()) {
    EXPECT_GE(dim.size, 2);            // (1)
    EXPECT_EQ(dim.stride % reach, 0);  // (2)
    reach = dim.size * dim.stride;
  }
}

bool tiles(const Ranks& a, const Ranks& b, std::int64_t world_size) {
  std::set<std::int64_t> sums;
  for (const std::int64_t x : a) {
    for (const std::int64_t y : b) {
      if (x + y >= world_size || !sums.insert(x + y).second) {
        return false;
      }
    }
  }
  return static_cast<std::int64_t>(sums.size()) == world_size;
}

// `candidates`: all layouts whose offsets are below the world size.
void check_complement(const Layout& layout, std::int64_t world_size,
                      const std::set<Ranks>& candidates) {
  const Ranks offsets = layout.offsets();
  const auto complement = layout.complement(world_size);
  if (complement) {
    check_layout(*complement, complement->offsets());
    EXPECT_TRUE(tiles(offsets, complement->offsets(), world_size));  // (1)
  } else {
    for (const Ranks& other : candidates) {
      EXPECT_FALSE(tiles(offsets, other, world_size))
          << ::testing::PrintToString(offsets) << " in " << world_size;
    }
  }
}

TEST(Layout, FromOffsetsKnowsExactlyTheLayoutsAmongAllSetsBelow14) {
  constexpr std::int64_t kBound = 14;
  const std::set<Ranks> layouts = all_layouts(kBound);
  std::size_t num_found = 0;
  for (unsigned bits = 1; bits < (1U << kBound); bits += 2) {
    Ranks offsets;
    for (std::int64_t offset = 0; offset < kBound; ++offset) {
      if ((bits >> static_cast<unsigned>(offset) & 1U) != 0) {
        offsets.push_back(offset);
      }
    }
    const auto layout = Layout::from_offsets(offsets);
    EXPECT_EQ(layout.has_value(), layouts.contains(offsets)) << ::testing::PrintToString(offsets);
    if (layout) {
      ++num_found;
      check_layout(*layout, offsets);
    }
  }
  EXPECT_EQ(num_found, layouts.size());
}

TEST(Layout, ComplementTilesEachWorldUpTo24OrThereIsNone) {
  for (std::int64_t world_size = 1; world_size <= 24; ++world_size) {
    const std::set<Ranks> layouts = all_layouts(world_size);
    for (const Ranks& offsets : layouts) {
      const auto layout = Layout::from_offsets(offsets);
      ASSERT_TRUE(layout.has_value());
      check_complement(*layout, world_size, layouts);
    }
  }
}

TEST(Layout, NoComplementInAWorldThatTheLayoutLeaves) {
  const auto layout = Layout::from_offsets(Ranks{0, 4});
  ASSERT_TRUE(layout.has_value());
  EXPECT_FALSE(layout->complement(4).has_value());
  EXPECT_FALSE(layout->complement(0).has_value());
}

TEST(Layout, DimensionsOfAMesh) {
  // Dimensions 0 and 2 of a mesh of 2 x 3 x 4 ranks.
  const auto layout = Layout::from_offsets(Ranks{0, 1, 2, 3, 12, 13, 14, 15});
  ASSERT_TRUE(layout.has_value());
  EXPECT_THAT(layout->dims(), ElementsAre(LayoutDim{4, 1}, LayoutDim{2, 12}));
  const auto complement = layout->complement(24);
  ASSERT_TRUE(complement.has_value());
  EXPECT_THAT(complement->dims(), ElementsAre(LayoutDim{3, 4}));
}

TEST(Layout, OneOffsetIsALayoutWithoutDimensions) {
  const auto layout = Layout::from_offsets(Ranks{0});
  ASSERT_TRUE(layout.has_value());
  EXPECT_THAT(layout->dims(), IsEmpty());
  EXPECT_EQ(layout->size(), 1);
  EXPECT_THAT(layout->complement(8).value().dims(), ElementsAre(LayoutDim{8, 1}));
  EXPECT_THAT(layout->complement(1).value().dims(), IsEmpty());
}

TEST(Layout, NoOffsetIsNoLayout) { EXPECT_FALSE(Layout::from_offsets({}).has_value()); }

TEST(Layout, AMillionRanks) {
  constexpr std::int64_t kWorldSize = std::int64_t{1} << 20;
  const auto layout = Layout::from_offsets(RankSet::first(kWorldSize).to_vector());
  ASSERT_TRUE(layout.has_value());
  EXPECT_THAT(layout->dims(), ElementsAre(LayoutDim{kWorldSize, 1}));
  EXPECT_THAT(layout->complement(kWorldSize).value().dims(), IsEmpty());
}

}  // namespace
}  // namespace polyrank
