#include <core/sample_partitions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/group/group_family.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <unordered_set>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Groups = std::vector<Ranks>;

Groups groups_of(const GroupFamily& family) {
  Groups groups;
  for (std::int64_t group = 0; group < family.num_groups(); ++group) {
    const auto members = family.members(group);
    groups.emplace_back(members.begin(), members.end());
  }
  return groups;
}

// That `family` consists of `groups`, given in any order, and keeps the invariants of
// group_family.h.
void check_family(const GroupFamily& family, Groups groups) {
  SCOPED_TRACE(family.to_string());
  std::ranges::sort(groups, {},
                    [](const Ranks& group) { return *std::ranges::min_element(group); });
  ASSERT_EQ(groups_of(family), groups);  // (3)
  EXPECT_GE(family.num_groups(), 1);     // (1)
  EXPECT_GE(family.group_size(), 1);
  std::set<std::int64_t> seen;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    EXPECT_EQ(static_cast<std::int64_t>(groups[group].size()), family.group_size());  // (2)
    for (std::size_t position = 0; position < groups[group].size(); ++position) {
      const std::int64_t rank = groups[group][position];
      EXPECT_TRUE(seen.insert(rank).second);  // (2)
      const auto group_index = static_cast<std::int64_t>(group);
      const auto position_index = static_cast<std::int32_t>(position);
      EXPECT_EQ(family.member(group_index, position_index), rank);
      EXPECT_EQ(family.group_of(rank), group_index);
      EXPECT_EQ(family.position_of(rank), position_index);
    }
  }
  EXPECT_EQ(family.ranks(), RankSet::of(Ranks(seen.begin(), seen.end())));
  for (std::int64_t rank = -1; rank <= family.ranks().max() + 1; ++rank) {
    if (!seen.contains(rank)) {
      EXPECT_EQ(family.group_of(rank), -1) << rank;
      EXPECT_EQ(family.position_of(rank), -1) << rank;
    }
  }
  std::ranges::reverse(groups);
  EXPECT_EQ(GroupFamily::explicit_groups(groups), family);  // interned, whatever the order
}

// A mesh as its shape; its ranks are numbered with the last dimension running fastest.
using Shape = std::vector<std::int64_t>;

void add_shapes(const Shape& shape, std::int64_t room, std::vector<Shape>* shapes) {
  if (!shape.empty()) {
    shapes->push_back(shape);
  }
  for (std::int64_t size = 2; size <= room; ++size) {
    Shape longer = shape;
    longer.push_back(size);
    add_shapes(longer, room / size, shapes);
  }
}

std::vector<Shape> mesh_shapes(std::int64_t most_ranks) {
  std::vector<Shape> shapes{{1}};
  add_shapes({}, most_ranks, &shapes);
  return shapes;
}

// The fibers along the dimensions in `bits`: ranks whose other coordinates agree. Naive: by the
// coordinates of each rank.
Groups fibers(const Shape& shape, std::int64_t world_size, unsigned bits) {
  std::map<Ranks, Ranks> by_other_coordinates;
  for (std::int64_t rank = 0; rank < world_size; ++rank) {
    Ranks others;
    std::int64_t rest = rank;
    for (std::size_t dim = shape.size(); dim-- > 0; rest /= shape[dim]) {
      if ((bits >> dim & 1U) == 0) {
        others.push_back(rest % shape[dim]);
      }
    }
    by_other_coordinates[others].push_back(rank);
  }
  Groups groups;
  for (auto& [coordinates, members] : by_other_coordinates) {
    groups.push_back(std::move(members));
  }
  return groups;
}

// That each of `groups`, and it with its members in another order, stands for all of them.
void check_complete(const Groups& groups, std::int64_t world_size) {
  check_family(GroupFamily::explicit_groups(groups), groups);
  for (const Ranks& group : groups) {
    EXPECT_EQ(GroupFamily::complete(group, world_size), GroupFamily::explicit_groups(groups));
  }
  const auto reorder = [](Ranks group) {  // the same places of each group
    std::ranges::rotate(group, group.begin() + static_cast<std::ptrdiff_t>(group.size() / 2));
    std::ranges::reverse(group);
    return group;
  };
  Groups reordered;
  std::ranges::transform(groups, std::back_inserter(reordered), reorder);
  check_family(GroupFamily::complete(reordered.back(), world_size), reordered);
}

TEST(GroupFamily, CompleteGivesTheFibersOfEachMeshOfUpTo24Ranks) {
  for (const Shape& shape : mesh_shapes(24)) {
    SCOPED_TRACE(::testing::PrintToString(shape));
    std::int64_t world_size = 1;
    for (const std::int64_t size : shape) {
      world_size *= size;
    }
    for (unsigned bits = 0; bits < (1U << shape.size()); ++bits) {
      check_complete(fibers(shape, world_size, bits), world_size);
    }
  }
}

// Each subset of a small world is in one family or stands alone; a family that was completed holds
// the group, covers the world, and all its groups stand for the same family.
TEST(GroupFamily, CompleteOfEachSubsetOfAWorldOfUpToTenRanks) {
  for (std::int64_t world_size = 1; world_size <= 10; ++world_size) {
    for (unsigned bits = 1; bits < (1U << static_cast<unsigned>(world_size)); ++bits) {
      Ranks members;
      for (std::int64_t rank = 0; rank < world_size; ++rank) {
        if ((bits >> static_cast<unsigned>(rank) & 1U) != 0) {
          members.push_back(rank);
        }
      }
      const GroupFamily family = GroupFamily::complete(members, world_size);
      if (family == GroupFamily::single(members)) {
        continue;
      }
      const Groups groups = groups_of(family);
      EXPECT_EQ(std::ranges::count(groups, members), 1);
      EXPECT_EQ(family.ranks(), RankSet::first(world_size));
      check_complete(groups, world_size);
    }
  }
}

TEST(GroupFamily, IrregularGroupsStandAlone) {
  const auto check_alone = [](const Ranks& members, std::int64_t world_size) {
    check_family(GroupFamily::complete(members, world_size), {members});
  };
  check_alone({0, 1, 3}, 8);  // no layout
  check_alone({0, 1}, 5);     // the world is no multiple
  check_alone({1, 2}, 4);     // not a place of the family [0,1] [2,3]
  check_alone({0, 3}, 8);     // the stride does not divide the world
  check_alone({7, 2, 4}, 8);  // no layout; keeps its order
}

TEST(GroupFamily, CompleteKeepsTheOrderOfMembers) {
  check_family(GroupFamily::complete(Ranks{6, 2}, 8), {{4, 0}, {5, 1}, {6, 2}, {7, 3}});
}

TEST(GroupFamily, OneRankIsAFamilyOfSingleRanks) {
  check_family(GroupFamily::complete(Ranks{2}, 3), {{0}, {1}, {2}});
  check_family(GroupFamily::complete(Ranks{0}, 1), {{0}});
}

TEST(GroupFamily, CompleteOfAMillionRanks) {
  constexpr std::int64_t kWorldSize = std::int64_t{1} << 20;
  Ranks members;
  for (std::int64_t i = 0; i < 8; ++i) {
    members.push_back(5 + i * (kWorldSize / 8));
  }
  const GroupFamily family = GroupFamily::complete(members, kWorldSize);
  EXPECT_EQ(family.num_groups(), kWorldSize / 8);
  EXPECT_EQ(family.group_of(members[3]), 5);
  EXPECT_EQ(family.position_of(members[3]), 3);
}

TEST(GroupFamily, SingleKeepsAnyOrder) {
  check_family(GroupFamily::single(Ranks{5, 0, 3}), {{5, 0, 3}});
  EXPECT_NE(GroupFamily::single(Ranks{5, 0, 3}), GroupFamily::single(Ranks{0, 3, 5}));
}

TEST(GroupFamily, FibersAnswerAsListedGroupsDo) {
  const GroupFamily fibers = GroupFamily::fibers({{2, 12}, {4, 1}}, 24);
  Groups groups;
  for (std::int64_t group = 0; group < fibers.num_groups(); ++group) {
    groups.push_back(fibers.runs(group).to_vector());
  }
  const GroupFamily listed = GroupFamily::explicit_groups(groups);
  EXPECT_EQ(fibers.num_groups(), listed.num_groups());
  EXPECT_EQ(fibers.group_size(), listed.group_size());
  EXPECT_EQ(fibers.ranks(), listed.ranks());
  EXPECT_EQ(fibers.to_string(), listed.to_string());
  for (std::int64_t rank = -1; rank <= 24; ++rank) {
    EXPECT_EQ(fibers.group_of(rank), listed.group_of(rank)) << rank;
    EXPECT_EQ(fibers.position_of(rank), listed.position_of(rank)) << rank;
  }
  for (std::int64_t group = 0; group < listed.num_groups(); ++group) {
    EXPECT_EQ(listed.runs(group), fibers.runs(group));
    EXPECT_EQ(listed.member(group, 5), fibers.member(group, 5));
  }
  EXPECT_EQ(fibers, GroupFamily::fibers({{2, 12}, {4, 1}}, 24));  // interned
  EXPECT_NE(fibers, GroupFamily::fibers({{4, 1}, {2, 12}}, 24));
  EXPECT_THROW(fibers.members(0), InternalError);
}

TEST(GroupFamily, EqualFamiliesHashEqual) {
  const std::unordered_set<GroupFamily> families{
      GroupFamily::complete(Ranks{0, 1}, 4), GroupFamily::explicit_groups(Groups{{2, 3}, {0, 1}}),
      GroupFamily::single(Ranks{0, 1})};
  EXPECT_EQ(families.size(), 2U);
}

TEST(GroupFamily, ErrorsSayWhatIsWrong) {
  EXPECT_THAT([] { (void)GroupFamily::single({}); },
              ThrowsMessage<UsageError>(HasSubstr("at least one rank")));
  EXPECT_THAT([] { (void)GroupFamily::explicit_groups({}); },
              ThrowsMessage<UsageError>(HasSubstr("at least one rank")));
  EXPECT_THAT([] { (void)GroupFamily::complete({}, 4); },
              ThrowsMessage<UsageError>(HasSubstr("at least one rank")));
  EXPECT_THAT([] { (void)GroupFamily::single(Ranks{3, -1}); },
              ThrowsMessage<UsageError>(HasSubstr("got rank -1")));
  EXPECT_THAT([] { (void)GroupFamily::single(Ranks{3, 3}); },
              ThrowsMessage<UsageError>(HasSubstr("repeated")));
  EXPECT_THAT([] { (void)GroupFamily::explicit_groups(Groups{{0, 1}, {1, 2}}); },
              ThrowsMessage<UsageError>(HasSubstr("disjoint")));
  EXPECT_THAT([] { (void)GroupFamily::explicit_groups(Groups{{0, 1}, {2}}); },
              ThrowsMessage<UsageError>(HasSubstr("got one of 2 ranks and one of 1")));
  EXPECT_THAT([] { (void)GroupFamily::complete(Ranks{0, 4}, 4); },
              ThrowsMessage<UsageError>(HasSubstr("rank 4 is outside of a world of 4 ranks")));
  EXPECT_THAT([] { (void)GroupFamily::complete(Ranks{0, 0}, 4); },
              ThrowsMessage<UsageError>(HasSubstr("repeated")));
}

TEST(GroupFamily, TextAbbreviates) {
  EXPECT_EQ(GroupFamily::complete(Ranks{0, 1}, 4).to_string(), "[0,1] [2,3]");
  EXPECT_THAT(GroupFamily::complete(Ranks{0}, 512).to_string(), HasSubstr("… (512 groups)"));
  EXPECT_THAT(GroupFamily::single(RankSet::first(512).to_vector()).to_string(),
              HasSubstr("… (512 ranks)"));
}

TEST(GroupFamily, ThreadsInternTheSameFamilies) {
  constexpr std::size_t kThreads = 8;
  std::vector<std::vector<GroupFamily>> made(kThreads);
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&families = made[i]] {
        for (std::int64_t world_size = 64; world_size < 96; world_size += 2) {
          families.push_back(GroupFamily::complete(Ranks{0, 1}, world_size));
        }
      });
    }
  }
  for (const auto& families : made) {
    EXPECT_EQ(families, made.front());
  }
}

}  // namespace
}  // namespace polyrank
