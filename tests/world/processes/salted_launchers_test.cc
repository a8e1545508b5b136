#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <matching/launches.h>
#include <polyrank/world/processes/salted_launchers.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace polyrank {
namespace {

using ::testing::HasSubstr;

// What a command with this in its environment writes.
std::string output_of(const std::string& description, const std::string& test) {
  setenv(SaltedLauncher::kVariable, description.c_str(), 1);
  std::array<char, 4096> path{};
  EXPECT_GT(readlink("/proc/self/exe", path.data(), path.size() - 1), 0);
  const std::string command = std::string("exec '") + path.data() + "' --gtest_filter='" + test +
                              "' --gtest_also_run_disabled_tests";
  FILE* const pipe = popen(command.c_str(), "r");
  unsetenv(SaltedLauncher::kVariable);
  std::string output;
  for (int character = fgetc(pipe); character != EOF; character = fgetc(pipe)) {
    output += static_cast<char>(character);
  }
  EXPECT_EQ(pclose(pipe), 0);
  return output;
}

TEST(SaltedLaunchersTest, AProcessThatWasNotStartedSoIsNone) {
  EXPECT_EQ(take_salted_launcher(), nullptr);
}

// In each of three launchers, that take the ranks of their numbers.
TEST(SaltedLaunchersTest, DISABLED_InALauncher) {
  const std::unique_ptr<SaltedLauncher> launcher = take_salted_launcher();
  ASSERT_NE(launcher, nullptr);
  EXPECT_EQ(take_salted_launcher(), nullptr);
  EXPECT_EQ(std::getenv(SaltedLauncher::kVariable), nullptr);
  EXPECT_EQ(std::getenv("LD_PRELOAD"), nullptr);
  EXPECT_EQ(std::getenv("PYTHONHASHSEED"), std::to_string(launcher->number + 1));
  EXPECT_EQ(launcher->sockets.size(), launcher->number == 0 ? 2U : 1U);
  SharedRun& run = launcher->run->run();
  EXPECT_EQ(run.world_size(), 3);
  run.begin(launcher->number);
  const std::vector<std::int64_t> members{0, 1, 2};
  run.join_group("world", members);
  const auto group = std::make_shared<const MeetingGroup>(MeetingGroup{"world", members});
  const SharedArrival arrival = run.arrive(group, all_reduce({4}), nullptr);
  if (arrival.is_last) {
    run.finish(arrival.meeting, nullptr);
  }
  run.wait(arrival.meeting, {});
  if (launcher->number == 0) {
    std::puts("all have met");
  }
}

TEST(SaltedLaunchersTest, LaunchersOfTheirOwnMeetInOneArena) {
  EXPECT_THAT(output_of("3 3 0 0", "SaltedLaunchersTest.DISABLED_InALauncher"),
              HasSubstr("all have met\n"));
}

}  // namespace
}  // namespace polyrank
