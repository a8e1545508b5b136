#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/group/group.h>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(Group, OfARankOnItsOwnActsAlone) {
  const Group group("7", "mesh_tp", RankRuns::of_run({.first = 16, .count = 8, .step = 1}));
  EXPECT_EQ(group.name(), "7");
  EXPECT_EQ(group.label(), "mesh_tp");
  EXPECT_EQ(group.size(), 8);
  EXPECT_EQ(group.ranks().to_string(), "16-23");
  EXPECT_EQ(group.num_groups(), 1);
  EXPECT_THAT([&] { (void)group.family(); },
              ThrowsMessage<InternalError>(HasSubstr("group \"mesh_tp\" was asked")));
}

TEST(Group, StandsForItsFamily) {
  const GroupFamily family = GroupFamily::fibers({{.size = 8, .stride = 1}}, /*num_ranks=*/64);
  const Group group("7", "mesh_tp", family.runs(2), family);
  EXPECT_EQ(group.ranks().to_string(), "16-23");
  EXPECT_EQ(group.num_groups(), 8);
  EXPECT_EQ(group.family(), family);
}

}  // namespace
}  // namespace polyrank
