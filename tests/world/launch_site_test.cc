#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/world/launch_site.h>
#include <world/named_group.h>

namespace polyrank {
namespace {

const CollectiveSpec& all_reduce_spec() { return *find_collective("c10d::allreduce_"); }

TEST(LaunchSite, IsOperatorAndGroup) {
  const auto group = named_group(/*rank=*/1, /*size=*/4);
  const std::vector<c10::IValue> arguments{std::vector<at::Tensor>{at::ones({2})}, group};
  const LaunchThere launch = launch_there(all_reduce_spec(), arguments);
  EXPECT_EQ(launch.site.op_name, "c10d::allreduce_");
  EXPECT_EQ(launch.site.group, "ranks 0-3");
  EXPECT_TRUE(launch.site.file.empty());  // there is no Python
  EXPECT_EQ(launch.group_size, 4);
  EXPECT_EQ(launch.members, "0-3");
  EXPECT_EQ(launch.ranks, "1");
}

TEST(LaunchSite, IsOfAllRanksInLockstep) {
  const at::Tensor x = local_tensor({{1}, {2}});
  const LockstepWorld world(2);
  const std::vector<c10::IValue> arguments{std::vector<at::Tensor>{x}, group_or_world({})};
  const LaunchThere launch = launch_there(all_reduce_spec(), arguments);
  EXPECT_EQ(launch.ranks, "0-1");
  EXPECT_EQ(launch.site.group, "world");
}

TEST(LaunchSite, OfALaunchWithoutAGroupHasNone) {
  const std::vector<c10::IValue> arguments{at::ones({2})};
  const LaunchThere launch =
      launch_there(*find_collective("_c10d_functional::wait_tensor"), arguments);
  EXPECT_TRUE(launch.site.group.empty());
  EXPECT_TRUE(launch.ranks.empty());
}

}  // namespace
}  // namespace polyrank
