#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/world/fake/fake_process_group.h>
#include <polyrank/world/launch_clock.h>

#include <string>
#include <vector>

namespace polyrank {
namespace {

std::vector<std::string>& told() {
  static std::vector<std::string> told;
  return told;
}

// One clock a process: all of it in one test.
TEST(LaunchClock, IsToldOfLaunchesAndWaits) {
  const auto group = FakeProcessGroup::create(1, 4);
  std::vector<at::Tensor> tensors{at::ones({4})};
  group->allreduce(tensors, {})->wait();  // nobody is told
  EXPECT_TRUE(told().empty());

  set_launch_clock(
      {.launched = [](const CollectiveCall& call, const Group& launch_group,
                      std::int64_t own_rank) -> LaunchTicket {
         told().push_back(std::string(to_string(call.spec->kind)) + " of " +
                          std::to_string(launch_group.size()) + " by " + std::to_string(own_rank));
         return told().size();
       },
       .waited =
           [](LaunchTicket ticket) { told().push_back("wait for " + std::to_string(ticket)); }});
  const auto work = group->allreduce(tensors, {});
  ASSERT_EQ(told().size(), 1U);
  EXPECT_EQ(told()[0], "all_reduce of 4 by 1");
  work->wait();
  ASSERT_EQ(told().size(), 2U);
  EXPECT_EQ(told()[1], "wait for 1");

  group->startCoalescing();
  group->send(tensors, 2, 0);
  group->recv(tensors, 0, 0);
  group->endCoalescing()->wait();  // for both
  ASSERT_EQ(told().size(), 6U);
  EXPECT_EQ(told()[4], "wait for 3");
  EXPECT_EQ(told()[5], "wait for 4");
}

}  // namespace
}  // namespace polyrank
