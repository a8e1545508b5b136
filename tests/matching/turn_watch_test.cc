#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/matching/turn_watch.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// Two processes that do what they are told until the test ends.
class TurnWatchTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const pid_t process : processes_) {
      kill(process, SIGKILL);
      waitpid(process, nullptr, 0);
    }
  }

  void fork_both(const std::function<void()>& what) {
    for (int rank = 0; rank < 2; ++rank) {
      const pid_t process = fork();
      if (process == 0) {
        what();
        _exit(0);
      }
      processes_.push_back(process);
    }
  }

  // -1: nobody waits for the turn to end.
  std::int64_t turn() const {
    const auto present = run_->turn();
    return present ? present->rank : -1;
  }

  // What `watch` tells until the turn has changed hands, or a second has passed.
  std::string told_until_it_passes(TurnWatch* watch) const {
    const std::int64_t before = turn();
    std::string told;
    for (int i = 0; i < 200 && turn() == before; ++i) {
      told += watch->look().value_or("");
      std::this_thread::sleep_for(milliseconds(5));
    }
    return told;
  }

  std::shared_ptr<SharedRun> run_ =
      std::make_shared<SharedRun>(2, SharedRunOptions{.order = TurnOrder::kFirstReady});
  std::vector<pid_t> processes_;
};

TEST_F(TurnWatchTest, WhoSleepsLosesTheTurnWithoutAWord) {
  fork_both([] { pause(); });
  TurnWatch watch(run_, processes_);
  EXPECT_EQ(turn(), 0);
  EXPECT_EQ(told_until_it_passes(&watch), "");
  EXPECT_EQ(turn(), -1);  // rank 1 has it, and is the last
}

TEST_F(TurnWatchTest, WhoComputesKeepsIt) {
  fork_both([] {
    while (true) {
    }
  });
  TurnWatch watch(run_, processes_);
  EXPECT_EQ(told_until_it_passes(&watch), "");
  EXPECT_EQ(turn(), 0);
}

TEST_F(TurnWatchTest, WhoComputesForTooLongIsTold) {
  fork_both([] {
    while (true) {
    }
  });
  TurnWatch watch(run_, processes_, milliseconds(30));
  EXPECT_THAT(told_until_it_passes(&watch), HasSubstr("rank 0 has had the turn for 0 s"));
}

TEST_F(TurnWatchTest, AProcessThatIsGoneIsNotAsleep) {
  fork_both([] {});
  std::this_thread::sleep_for(milliseconds(20));
  for (const pid_t process : processes_) {
    waitpid(process, nullptr, 0);
  }
  TurnWatch watch(run_, processes_);
  EXPECT_EQ(told_until_it_passes(&watch), "");
  EXPECT_EQ(turn(), 0);
  processes_.clear();
}

}  // namespace
}  // namespace polyrank
