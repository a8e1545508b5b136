#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <matching/forked_ranks.h>
#include <matching/launches.h>
#include <polyrank/core/errors.h>
#include <polyrank/matching/shared_run.h>
#include <signal.h>

#include <chrono>
#include <random>
#include <thread>

namespace polyrank {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::HasSubstr;

using Group = std::shared_ptr<const MeetingGroup>;

// The group of all ranks, as a process has it.
Group world_of(SharedRun& run) {
  std::vector<std::int64_t> members;
  for (std::int64_t rank = 0; rank < run.world_size(); ++rank) {
    members.push_back(rank);
  }
  run.join_group("world", members);
  return std::make_shared<const MeetingGroup>(MeetingGroup{"world", members});
}

HeldMeeting launch(SharedRun& run, const Group& group, const Launch& launch) {
  SharedArrival arrival = run.arrive(group, launch, nullptr);
  if (arrival.is_last) {
    run.finish(arrival.meeting, nullptr);
  }
  return std::move(arrival.meeting);
}

void meet(SharedRun& run, const Group& group, const std::string& where = "s.py:1") {
  run.wait(launch(run, group, all_reduce({4}, ReduceOp::kSum, where)), {});
}

RankEndings run_all(const std::shared_ptr<SharedRun>& run,
                    const std::function<void(SharedRun&, const Group&)>& program) {
  return run_forked(
      *run, [&](std::int64_t) { program(*run, world_of(*run)); }, [&] { run->end(); });
}

TEST(SharedRunTest, RanksMeetAndLeaveNothingBehind) {
  const auto run = std::make_shared<SharedRun>(3);
  // Twice: what a group and the last launches take is there after the first time.
  const auto program = [](SharedRun& shared, const Group& group) {
    for (int i = 0; i < 500; ++i) {
      meet(shared, group);
    }
  };
  EXPECT_THAT(run_all(run, program), Each(""));
  EXPECT_LT(run->arena().used_bytes(), 100000U);
  EXPECT_EQ(run->leftovers(), "");
}

TEST(SharedRunTest, WhatIsLeftLaterIsLeftWithTheNextStep) {
  const auto run = std::make_shared<SharedRun>(3);
  const auto program = [](SharedRun& shared, const Group& group) {
    for (int i = 0; i < 500; ++i) {
      HeldMeeting meeting = launch(shared, group, all_reduce({4}, ReduceOp::kSum, "s.py:1"));
      shared.wait(meeting, {});
      meeting.leave_later();
      EXPECT_FALSE(meeting.is_held());
    }
  };
  EXPECT_THAT(run_all(run, program), Each(""));
  EXPECT_LT(run->arena().used_bytes(), 100000U);
  EXPECT_EQ(run->leftovers(), "");
}

TEST(SharedRunTest, ADeadlockIsTheOneOfRankThreads) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_all(run, [](SharedRun& shared, const Group& group) {
    const std::int64_t other = 1 - shared.rank();
    const auto received = shared.receive(other, 0, group, recv_of(2, "s.py:7"), nullptr);
    shared.wait(received.meeting, {});
  });
  EXPECT_EQ(endings[0], endings[1]);
  EXPECT_THAT(endings[0], HasSubstr("no rank can proceed"));
  EXPECT_THAT(endings[0], HasSubstr("Cycle: rank 0 -> rank 1 -> rank 0."));
  EXPECT_THAT(endings[0], HasSubstr("s.py:7"));
}

TEST(SharedRunTest, WhoWaitsForARankThatHasReturnedIsTold) {
  const auto run = std::make_shared<SharedRun>(3);
  const RankEndings endings = run_all(run, [](SharedRun& shared, const Group& group) {
    if (shared.rank() != 1) {
      meet(shared, group);
    }
  });
  EXPECT_THAT(endings[0], HasSubstr("Rank 0 waits for rank 1, which has returned"));
  EXPECT_EQ(endings[1], "");
}

TEST(SharedRunTest, LaunchesThatDoNotMatchFailOnAllSides) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_all(run, [](SharedRun& shared, const Group& group) {
    shared.wait(launch(shared, group, all_reduce({shared.rank() + 1})), {});
  });
  EXPECT_THAT(endings, Each(HasSubstr("ranks disagree")));
}

TEST(SharedRunTest, ARankThatFailsIsNamedToTheOthers) {
  const auto run = std::make_shared<SharedRun>(3);
  const RankEndings endings = run_all(run, [](SharedRun& shared, const Group& group) {
    if (shared.rank() == 2) {
      throw std::runtime_error("no data");
    }
    meet(shared, group);
  });
  EXPECT_EQ(endings[0], "rank 2 failed, so the run ends: no data");
  EXPECT_EQ(endings[1], endings[0]);
}

TEST(SharedRunTest, ARankThatDiesIsNamedWithItsLastLaunch) {
  const auto run = std::make_shared<SharedRun>(3);
  const RankEndings endings = run_all(run, [](SharedRun& shared, const Group& group) {
    meet(shared, group, "s.py:5");
    if (shared.rank() == 1) {
      raise(SIGKILL);
    }
    meet(shared, group);
  });
  EXPECT_THAT(endings[0], HasSubstr("rank 1 failed, so the run ends: died by signal 9; its last "
                                    "launch was all_reduce(sum) float32[4] (launch #0 of group "
                                    "\"world\")  s.py:5"));
  EXPECT_EQ(endings[2], endings[0]);
}

// Whenever a rank is killed, also while it changes the board, the others end with an error that
// names it.
TEST(SharedRunTest, SurvivorsAreToldWheneverARankIsKilled) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 30; ++round) {
    const auto run = std::make_shared<SharedRun>(3);
    const auto life = std::chrono::microseconds(random() % 3000);
    const RankEndings endings = run_all(run, [&](SharedRun& shared, const Group& group) {
      std::thread killer;
      if (shared.rank() == 1) {
        killer = std::thread([&] {
          std::this_thread::sleep_for(life);
          kill(getpid(), SIGKILL);
        });
      }
      while (true) {
        meet(shared, group);
      }
    });
    EXPECT_EQ(endings[1], "signal 9");
    // The second, if it was while it changed the arena, whose lock knows no ranks.
    const auto is_told = AnyOf(HasSubstr("rank 1"), HasSubstr("a rank died while it changed"));
    EXPECT_THAT(endings[0], is_told);
    EXPECT_THAT(endings[2], is_told);
  }
}

TEST(SharedRunTest, AWaitEndsWhenItsTimeIsUp) {
  const auto run =
      std::make_shared<SharedRun>(2, SharedRunOptions{.timeout = std::chrono::milliseconds(20)});
  const RankEndings endings = run_all(run, [](SharedRun& shared, const Group& group) {
    if (shared.rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      return;
    }
    meet(shared, group);
  });
  EXPECT_THAT(endings[0], HasSubstr("rank 0 timed out after 20 ms"));
}

TEST(SharedRunTest, AForkOfARankIsNone) {
  const auto run = std::make_shared<SharedRun>(1);
  run->begin(0);
  EXPECT_TRUE(run->is_rank());
  const pid_t child = fork();
  if (child == 0) {
    _exit(run->is_rank() ? 1 : 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(SharedRunTest, ThereMustBeARank) { EXPECT_THROW(SharedRun(0), UsageError); }

}  // namespace
}  // namespace polyrank
