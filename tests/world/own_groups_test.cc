#include <gtest/gtest.h>
#include <polyrank/world/own_groups.h>
#include <world/named_group.h>

namespace polyrank {
namespace {

TEST(OwnGroups, DescribeAGroupAndItsRank) {
  const auto group = named_group(/*rank=*/1, /*size=*/4);
  OwnGroups groups;
  const OwnGroups::Membership own = groups.find(group);
  EXPECT_EQ(own.group->size(), 4);
  EXPECT_EQ(own.group->label(), "ranks 0-3");
  EXPECT_EQ(own.group->ranks().to_string(), "0-3");
  EXPECT_EQ(own.rank.ranks().to_string(), "1");
  EXPECT_EQ(groups.find(group).group, own.group);  // described once
  groups.clear();
  EXPECT_NE(groups.find(group).group, own.group);
}

}  // namespace
}  // namespace polyrank
