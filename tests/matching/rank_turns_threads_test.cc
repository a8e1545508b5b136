#include <gtest/gtest.h>
#include <matching/rank_programs.h>
#include <polyrank/core/errors.h>
#include <polyrank/matching/rank_turns.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

// Runs `program(thread)` on a thread of the rank's, which has the turn.
std::thread start(RankTurns& turns, std::int64_t rank,
                  const std::function<void(std::int64_t)>& program) {
  const std::int64_t thread = turns.add_thread(rank);
  return std::thread([&turns, program, thread] {
    try {
      turns.begin(thread);
      program(thread);
    } catch (const ThreadEnded&) {
    }
    turns.end(thread);
  });
}

TEST(RankTurnsTest, AThreadOfARankTakesTurnsAndLaunchesAsTheRank) {
  RankTurns turns(2);
  std::vector<int> sums(2);
  const auto errors = run(turns, [&](const Member& member) {
    const auto over = new_event(member.rank(), "its thread", "s.py:1");
    std::thread thread = start(turns, member.rank(), [&](std::int64_t number) {
      EXPECT_GE(number, 2);
      const auto own = std::make_shared<int>(static_cast<int>(member.rank()) + 1);
      const Arrival arrival = turns.arrive(member.rank(), member.world(), all_reduce({1}), own);
      if (arrival.is_last) {
        sums[0] = sums[1] = *std::static_pointer_cast<int>(arrival.meeting->payloads[0]) +
                            *std::static_pointer_cast<int>(arrival.meeting->payloads[1]);
        turns.finish(arrival.meeting);
      }
      turns.wait(number, arrival.meeting);
      turns.finish(over);
    });
    EXPECT_EQ(turns.num_threads(member.rank()), 1U);
    turns.wait(member.rank(), over);
    thread.join();
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
  EXPECT_EQ(sums, (std::vector<int>{3, 3}));
}

TEST(RankTurnsTest, WhoWaitsForAThreadThatWaitsForARankIsAtAStandstill) {
  RankTurns turns(2);
  std::thread thread;
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 1) {
      return;
    }
    const auto over = new_event(0, "its thread", "s.py:1");
    thread = start(turns, 0, [&](std::int64_t number) {
      const Arrival arrival = turns.arrive(0, member.world(), barrier(), nullptr);
      EXPECT_THROW(turns.wait(number, arrival.meeting), DeadlockError);
    });
    turns.wait(0, over);
  });
  thread.join();
  EXPECT_NE(errors[0].find("  rank 0 waits for its thread  s.py:1\n"
                           "  rank 1 has returned\n"
                           "  a thread of rank 0 waits in barrier (launch #0 of group \"world\") "
                           "for rank 1\n"),
            std::string::npos)
      << errors[0];
}

TEST(RankTurnsTest, ANoticeWakesAllWhoWaitForIt) {
  RankTurns turns(3);
  const int thing = 0;
  int seen = 0;
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 2) {
      turns.notify(&seen);  // for which nobody waits
      turns.notify(&thing);
      return;
    }
    const auto notice = turns.expect_notice(member.rank(), &thing, "a lock", "s.py:1");
    turns.await_notice(member.rank(), &thing, notice, std::nullopt);
    ++seen;
  });
  EXPECT_EQ(errors, std::vector<std::string>(3));
  EXPECT_EQ(seen, 2);
}

TEST(RankTurnsTest, ANoticeMayComeBeforeTheWaitOrFromAThreadThatIsNoRank) {
  RankTurns turns(1);
  const int thing = 0;
  std::thread other;
  const auto errors = run(turns, [&](const Member&) {
    const auto early = turns.expect_notice(0, &thing, "a lock", "");
    turns.notify(&thing);
    turns.await_notice(0, &thing, early, std::nullopt);
    const auto late = turns.expect_notice(0, &thing, "a lock", "");
    other = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      turns.notify(&thing);
    });
    turns.await_notice(0, &thing, late, std::nullopt);
    const auto never = turns.expect_notice(0, &thing, "a lock", "");
    turns.await_notice(0, &thing, never, std::chrono::milliseconds(5));
  });
  other.join();
  EXPECT_EQ(errors, std::vector<std::string>(1));
}

TEST(RankTurnsTest, AStandstillOfLocksIsAFailureWhenTheyHaveBeenLookedAtAgain) {
  RankTurns turns(2);
  const int thing = 0;
  std::atomic<int> looked{0};
  std::atomic<bool> is_over{false};
  std::thread watcher([&] {
    while (!is_over) {
      turns.end_standstill(/*may_fail=*/looked > 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 1) {
      member.sum(member.world(), 1);
      return;
    }
    for (;;) {
      const auto notice = turns.expect_notice(0, &thing, "a lock", "s.py:1");
      turns.await_notice(0, &thing, notice, std::nullopt);
      ++looked;
    }
  });
  is_over = true;
  watcher.join();
  for (const std::string& error : errors) {
    EXPECT_NE(error.find("no rank can proceed.\n  rank 0 waits for a lock  s.py:1\n"),
              std::string::npos)
        << error;
  }
}

TEST(RankTurnsTest, ThreadsEndWithTheirRank) {
  RankTurns turns(2);
  const int thing = 0;
  std::vector<std::thread> threads;
  std::vector<std::string> ended;
  const auto errors = run(turns, [&](const Member& member) {
    for (int i = 0; i < 2; ++i) {
      threads.push_back(start(turns, member.rank(), [&](std::int64_t number) {
        try {
          const auto notice = turns.expect_notice(number, &thing, "a queue", "");
          turns.await_notice(number, &thing, notice, std::nullopt);
        } catch (const ThreadEnded& error) {
          ended.emplace_back(error.what());
          throw;
        }
      }));
    }
    turns.yield(member.rank());
    turns.end_threads(member.rank());
    EXPECT_EQ(turns.num_threads(member.rank()), 0U);
  });
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(errors, std::vector<std::string>(2));
  ASSERT_EQ(ended.size(), 4U);
  EXPECT_EQ(ended[0], "rank 0, which started this thread, has ended");
}

TEST(RankTurnsTest, AThreadThatComesBackFromOutsideWhenItsRankHasEndedGetsNoTurn) {
  RankTurns turns(1);
  std::atomic<bool> is_over{false};
  std::thread thread;
  const auto errors = run(turns, [&](const Member&) {
    thread = start(turns, 0, [&](std::int64_t number) {
      turns.pause(number);
      while (!is_over) {
        std::this_thread::yield();
      }
      EXPECT_THROW(turns.resume(number), ThreadEnded);
    });
    turns.yield(0);
    turns.end_threads(0);
  });
  is_over = true;
  thread.join();
  EXPECT_EQ(errors, std::vector<std::string>(1));
}

TEST(RankTurnsTest, SaysWhereEachThreadIs) {
  RankTurns turns(3);
  std::atomic<bool> is_over{false};
  std::string text;
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 0) {
      const PauseGuard pause(turns, 0);
      while (!is_over) {
        std::this_thread::yield();
      }
    } else if (member.rank() == 1) {
      text = turns.describe({{0, "at a.py:1"}, {1, "at b.py:2"}});
      is_over = true;
    }
  });
  EXPECT_EQ(errors, std::vector<std::string>(3));
  EXPECT_EQ(text,
            "  rank 0 waits outside, at a.py:1\n"
            "  rank 1 has the turn, at b.py:2\n"
            "  rank 2 could go on\n");
}

TEST(RankTurnsTest, KnowsWhichThreadsOfARankLaunchAtOnce) {
  RankTurns turns(2);
  bool at_once = false;
  const auto errors = run(turns, [&](const Member& member) {
    const Group world = member.world();
    std::thread thread;
    if (member.rank() == 0) {
      thread = start(turns, 0, [&](std::int64_t number) {
        at_once = turns.is_launching(0, number, *world);
        EXPECT_FALSE(turns.is_launching(1, number, *world));
      });
    }
    if (member.rank() == 1) {
      turns.yield(1);  // the thread runs while rank 0 waits
    }
    member.sum(world, 1);
    turns.yield(member.rank());
    if (thread.joinable()) {
      turns.end_threads(0);
      thread.join();
    }
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
  EXPECT_TRUE(at_once);
}

}  // namespace
}  // namespace polyrank
