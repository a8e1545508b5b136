#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/group_families.h>

#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::string family_of(const GroupFamilies& groups, const std::string& name) {
  return groups.find(name)->family().to_string();
}

TEST(GroupFamilies, AGroupOfTheProgramsStandsAlone) {
  GroupFamilies groups;
  groups.add("a", {0, 1}, 4, "");
  groups.add("b", {2, 3}, 4, "");
  EXPECT_EQ(family_of(groups, "a"), "[0,1]");
  EXPECT_EQ(family_of(groups, "b"), "[2,3]");
  groups.add("c", {2, 3}, 4, "", GroupMaker::kTorch);  // the program's complete no pattern
  EXPECT_EQ(family_of(groups, "c"), "[2,3]");
}

TEST(GroupFamilies, AGroupOfTorchsWhoseSiblingsWereMadeStandsForAll) {
  GroupFamilies groups;
  groups.add("a", {0, 1}, 4, "", GroupMaker::kTorch);
  EXPECT_EQ(family_of(groups, "a"), "[0,1]");
  groups.add("b", {2, 3}, 4, "", GroupMaker::kTorch);
  EXPECT_EQ(family_of(groups, "a"), "[0,1] [2,3]");
  EXPECT_EQ(family_of(groups, "b"), "[0,1] [2,3]");
}

TEST(GroupFamilies, AGroupOfTorchsMadeAgainAloneStandsAlone) {
  GroupFamilies groups;
  groups.add("a", {0, 1}, 4, "", GroupMaker::kTorch);
  groups.add("b", {2, 3}, 4, "", GroupMaker::kTorch);
  groups.add("c", {0, 1}, 4, "", GroupMaker::kTorch);
  EXPECT_EQ(family_of(groups, "c"), "[0,1]");
  EXPECT_EQ(family_of(groups, "a"), "[0,1] [2,3]");
}

TEST(GroupFamilies, OrderOfMembersCounts) {
  GroupFamilies groups;
  groups.add("a", {1, 0}, 4, "", GroupMaker::kTorch);
  groups.add("b", {2, 3}, 4, "", GroupMaker::kTorch);
  EXPECT_EQ(family_of(groups, "a"), "[1,0]");
  groups.add("c", {3, 2}, 4, "", GroupMaker::kTorch);
  EXPECT_EQ(family_of(groups, "a"), "[1,0] [3,2]");
}

TEST(GroupFamilies, DeclaredFamilyNeedsNoPattern) {
  GroupFamilies groups;
  groups.add("a", {0, 3}, 6, "mesh_dp");
  groups.add("b", {1, 2}, 6, "mesh_dp");
  groups.declare_family("b", {"a", "b"});
  EXPECT_EQ(family_of(groups, "b"), "[0,3] [1,2]");
  EXPECT_EQ(family_of(groups, "a"), "[0,3]");
  EXPECT_EQ(groups.find("a")->label(), "mesh_dp");
}

TEST(GroupFamilies, GroupsOfADeclaredFamilyDoNotCompleteOthers) {
  GroupFamilies groups;
  groups.add("a", {0, 1}, 4, "", GroupMaker::kTorch);
  groups.add("b", {2, 3}, 4, "", GroupMaker::kTorch);
  groups.declare_family("b", {"a", "b"});
  groups.add("c", {0, 1}, 4, "", GroupMaker::kTorch);
  EXPECT_EQ(family_of(groups, "c"), "[0,1]");
}

TEST(GroupFamilies, RefusesWhatIsNoGroupOrNoFamily) {
  GroupFamilies groups;
  EXPECT_THAT([&] { groups.add("a", {0, 4}, 4, ""); },
              ThrowsMessage<UsageError>(HasSubstr("rank 4 is outside of the world of 4 ranks")));
  EXPECT_THAT([&] { groups.add("a", {1, 1}, 4, ""); },
              ThrowsMessage<UsageError>(HasSubstr("rank 1 is in it twice")));
  EXPECT_THAT([&] { groups.add("a", {}, 4, ""); },
              ThrowsMessage<UsageError>(HasSubstr("at least one member")));
  groups.add("a", {0, 1}, 4, "");
  groups.add("b", {1, 2}, 4, "");
  groups.add("c", {3}, 4, "");
  EXPECT_THAT([&] { groups.declare_family("a", {"a", "b"}); },
              ThrowsMessage<UsageError>(HasSubstr("share no rank")));
  EXPECT_THAT([&] { groups.declare_family("a", {"a", "c"}); },
              ThrowsMessage<UsageError>(HasSubstr("must have one size")));
  EXPECT_THAT([&] { groups.declare_family("a", {"a", "none"}); },
              ThrowsMessage<UsageError>(HasSubstr("no process group \"none\"")));
}

TEST(ResolveGroup, KnowsTheWorldByItsSize) {
  group_families().clear();
  const auto world = resolve_group("default", /*group_size=*/4, /*num_ranks=*/4);
  EXPECT_EQ(world->label(), "world");
  EXPECT_EQ(world->family().to_string(), "[0,1,2,3]");
}

TEST(ResolveGroup, NamesTheGroupsThatThereAre) {
  group_families().clear();
  EXPECT_THAT([] { resolve_group("nope", -1, 4); },
              ThrowsMessage<CollectiveError>(
                  HasSubstr("there is no process group \"nope\"; none was made")));
  group_families().add("7", {0, 1}, 4, "");
  EXPECT_EQ(resolve_group("7", -1, 4)->label(), "ranks 0-1");
  EXPECT_THAT([] { resolve_group("nope", -1, 4); },
              ThrowsMessage<CollectiveError>(HasSubstr("there are \"7\"")));
  group_families().clear();
}

TEST(ResolveGroup, TakesAGroupThatNobodyNotedForItsWholePattern) {
  group_families().clear();
  set_find_members([](const std::string&, std::int64_t* world_size) {
    *world_size = 4;
    return std::vector<std::int64_t>{1, 3};
  });
  EXPECT_EQ(resolve_group("old", -1, 4)->family().to_string(), "[0,2] [1,3]");
  set_find_members(nullptr);
}

}  // namespace
}  // namespace polyrank
