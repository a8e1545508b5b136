#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/processes/rank_process.h>
#include <signal.h>
#include <world/processes/run_processes.h>

#include <stdexcept>

namespace polyrank {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

// A signal that comes while a rank waits runs its handlers, which may end the wait.
TEST(RankProcessTest, SignalsAreHandledWithinAWait) {
  process_hooks().run_signal_handlers = [] { throw std::runtime_error("interrupted"); };
  const RankEndings endings = run_processes(2, [](ProcessesBackend& world) {
    if (world.getRank() == 1) {
      usleep(300'000);
      return;
    }
    struct sigaction action{};
    action.sa_handler = [](int) {};  // without SA_RESTART, as Python's
    sigaction(SIGALRM, &action, nullptr);
    ualarm(20'000, 0);
    world.barrier({})->wait();
  });
  process_hooks().run_signal_handlers = nullptr;
  EXPECT_EQ(endings[0], "interrupted");
}

TEST(RankProcessTest, OtherThreadsMayDoWhatARankWaitsFor) {
  process_hooks().has_other_threads = [] { return true; };
  const auto process =
      std::make_shared<RankProcess>(1, SharedRunOptions{.timeout = std::chrono::milliseconds(20)});
  const RankEndings endings = run_processes(process, [](const auto& rank, ProcessesBackend&) {
    std::vector<at::Tensor> x{at::zeros({1})};
    const auto world = c10::make_intrusive<ProcessesBackend>(rank, "world", all_ranks(1));
    world->recv(x, 0, 0)->wait();
  });
  process_hooks().has_other_threads = nullptr;
  EXPECT_THAT(endings, Each(HasSubstr("timed out after 20 ms")));  // not: no rank can proceed
}

TEST(RankProcessTest, TheLauncherDoesNotWait) {
  RankProcess launcher(1);
  EXPECT_THROW(launcher.wait({}), UsageError);
}

}  // namespace
}  // namespace polyrank
