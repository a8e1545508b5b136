#include <gtest/gtest.h>
#include <matching/rank_programs.h>
#include <polyrank/core/errors.h>
#include <polyrank/matching/rank_turns.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace polyrank {
namespace {

const std::vector<std::string> kNoErrors(4);

TEST(RankTurnsTest, CollectivesMeetAndGiveEachRankItsResult) {
  RankTurns turns(4);
  std::vector<int> sums(4);
  const auto errors = run(turns, [&](const Member& member) {
    const Group world = member.world();
    for (int step = 0; step < 100; ++step) {
      sums[static_cast<std::size_t>(member.rank())] +=
          member.sum(world, static_cast<int>(member.rank()));
    }
  });
  EXPECT_EQ(errors, kNoErrors);
  EXPECT_EQ(sums, (std::vector<int>{600, 600, 600, 600}));
  EXPECT_EQ(turns.leftovers(), "");
}

TEST(RankTurnsTest, MessagesGoAroundARing) {
  RankTurns turns(4);
  std::vector<int> received(4);
  const auto errors = run(turns, [&](const Member& member) {
    member.send((member.rank() + 1) % 4, static_cast<int>(member.rank()));
    received[static_cast<std::size_t>(member.rank())] = member.receive((member.rank() + 3) % 4);
  });
  EXPECT_EQ(errors, kNoErrors);
  EXPECT_EQ(received, (std::vector<int>{3, 0, 1, 2}));
}

TEST(RankTurnsTest, OnlyOneRankRunsAtATimeAndInTheSameOrderEachTime) {
  const auto order = [](const TurnOptions& options) {
    RankTurns turns(4, options);
    std::vector<std::int64_t> ran;
    std::atomic<int> running{0};
    bool overlapped = false;
    run(turns, [&](const Member& member) {
      for (int step = 0; step < 5; ++step) {
        overlapped = overlapped || ++running != 1;
        ran.push_back(member.rank());
        --running;
        member.sum(member.world(), 1);
      }
    });
    EXPECT_FALSE(overlapped);
    return ran;
  };
  const std::vector<std::int64_t> first_ready = order({});
  EXPECT_EQ((std::vector<std::int64_t>(first_ready.begin(), first_ready.begin() + 4)),
            (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(order({}), first_ready);
  const TurnOptions random{.order = TurnOrder::kRandom, .seed = 3};
  EXPECT_EQ(order(random), order(random));
  std::set<std::vector<std::int64_t>> orders;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    orders.insert(order({.order = TurnOrder::kRandom, .seed = seed}));
  }
  EXPECT_GT(orders.size(), 4U);
}

TEST(RankTurnsTest, EveryoneReceivesFirst) {
  RankTurns turns(4);
  const auto errors = run(turns, [&](const Member& member) {
    member.receive((member.rank() + 3) % 4);
    member.send((member.rank() + 1) % 4, 0);
  });
  for (const std::string& error : errors) {
    EXPECT_NE(error.find("no rank can proceed"), std::string::npos) << error;
    EXPECT_NE(error.find("Cycle: rank 0 -> rank 3 -> rank 2 -> rank 1 -> rank 0."),
              std::string::npos)
        << error;
  }
}

TEST(RankTurnsTest, AMismatchIsAnErrorOnAllMembers) {
  RankTurns turns(4);
  const auto errors = run(turns, [&](const Member& member) {
    const Launch launch =
        member.rank() == 3 ? all_reduce({4}, ReduceOp::kMax) : all_reduce({4}, ReduceOp::kSum);
    const Arrival arrival = turns.arrive(member.rank(), member.world(), launch, nullptr);
    turns.wait(member.rank(), arrival.meeting);
  });
  for (const std::string& error : errors) {
    EXPECT_EQ(error, errors.front());
    EXPECT_NE(error.find("rank 3: all_reduce(max)"), std::string::npos) << error;
  }
}

TEST(RankTurnsTest, ARankThatReturnsEarly) {
  RankTurns turns(4);
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() != 2) {
      member.sum(member.world(), 1);
    }
  });
  EXPECT_EQ(errors[2], "");
  EXPECT_NE(errors[0].find("Rank 0 waits for rank 2, which has returned."), std::string::npos)
      << errors[0];
}

TEST(RankTurnsTest, AFailureEndsTheRunAndIsNamedToTheOthers) {
  RankTurns turns(4);
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 1) {
      throw std::runtime_error("no such file: data.bin");
    }
    member.sum(member.world(), 1);
  });
  for (const std::size_t rank : {0U, 2U, 3U}) {
    EXPECT_EQ(errors[rank], "rank 1 failed, so the run ends: no such file: data.bin");
  }
}

TEST(RankTurnsTest, AFailedMeetingGivesItsErrorToAllWhoWait) {
  RankTurns turns(2);
  const auto errors = run(turns, [&](const Member& member) {
    const Arrival arrival = turns.arrive(member.rank(), member.world(), barrier(), nullptr);
    if (arrival.is_last) {
      turns.finish(arrival.meeting,
                   std::make_exception_ptr(CollectiveError("out of memory in the fold")));
    }
    turns.wait(member.rank(), arrival.meeting);
  });
  EXPECT_EQ(errors, std::vector<std::string>(2, "out of memory in the fold"));
}

TEST(RankTurnsTest, APausedRankIsNotAccusedAndOthersRun) {
  RankTurns turns(2);
  std::atomic<bool> other_ran{false};
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 0) {
      const PauseGuard pause(turns, 0);
      while (!other_ran) {  // rank 1 comes to the barrier and waits: still no deadlock
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    } else {
      other_ran = true;
    }
    member.sum(member.world(), 1);
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
}

TEST(RankTurnsTest, YieldLetsOthersGoOn) {
  RankTurns turns(2);
  bool other_ran = false;
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 0) {
      while (!other_ran) {
        turns.yield(0);
      }
    }
    other_ran = true;
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
}

TEST(RankTurnsTest, AnEventWakesWhoWaitsForIt) {
  RankTurns turns(2);
  const auto event = new_event(0, "the light", "s.py:1");
  std::vector<std::string> order;
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 0) {
      turns.wait(0, event);
      order.emplace_back("seen");
      return;
    }
    order.emplace_back("lit");
    turns.finish(event);
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
  EXPECT_EQ(order, (std::vector<std::string>{"lit", "seen"}));
}

TEST(RankTurnsTest, AnEventThatNobodyBringsAboutIsAStandstill) {
  RankTurns turns(2, {.noun = "runner"});
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 0) {
      turns.wait(0, new_event(0, "the light", "s.py:1"));
    }
  });
  EXPECT_EQ(errors[0],
            "no runner can proceed.\n"
            "  runner 0 waits for the light  s.py:1\n"
            "  runner 1 has returned\n"
            "Nobody is left who could do what runner 0 waits for.");
}

TEST(TurnSignalTest, EachGiveEndsOneWaitNowOrLater) {
  TurnSignal signal;
  signal.give();
  EXPECT_TRUE(signal.await_for(std::chrono::milliseconds(0)));   // (1)
  EXPECT_FALSE(signal.await_for(std::chrono::milliseconds(5)));  // (1)
  EXPECT_FALSE(signal.await_for(std::chrono::milliseconds(-5)));
  std::thread giver([&] { signal.give(); });
  signal.await();
  giver.join();
  EXPECT_FALSE(signal.await_for(std::chrono::milliseconds(1)));
}

TEST(RankTurnsTest, AWaitWithATimeOutEndsByItselfAndMayGoOn) {
  RankTurns turns(2);
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 1) {
      const PauseGuard pause(turns, 1);
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
    }
    const auto own = std::make_shared<int>(1);
    const Arrival arrival = turns.arrive(member.rank(), member.world(), barrier(), own);
    if (arrival.is_last) {
      turns.finish(arrival.meeting);
    }
    if (member.rank() == 0) {
      try {
        turns.wait_for(0, arrival.meeting, std::chrono::milliseconds(5));
        ADD_FAILURE() << "rank 1 can't have come";
      } catch (const CollectiveError& error) {
        EXPECT_NE(
            std::string(error.what())
                .find("rank 0 timed out after 5 ms in barrier (launch #0 of group \"world\"), "
                      "waiting for rank 1.\n"),
            std::string::npos)
            << error.what();
      }
      turns.wait_for(0, arrival.meeting, std::chrono::minutes(1));
    }
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
}

TEST(RankTurnsTest, WhoWaitsForGoodIsNotAccusedWhileAnotherHasATimeOut) {
  RankTurns turns(2);
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 0) {
      const Arrival arrival = turns.receive(0, 1, 7, member.world(), recv_of(1), nullptr);
      EXPECT_THROW(turns.wait_for(0, arrival.meeting, std::chrono::milliseconds(5)),
                   CollectiveError);
    }
    EXPECT_EQ(member.sum(member.world(), 1), 2);  // where rank 1 waits meanwhile
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
}

TEST(RankTurnsTest, StopEndsWaitingAndPausedRanks) {
  RankTurns turns(3);
  std::atomic<int> started{0};
  std::thread interrupter([&] {
    while (started < 2) {
      std::this_thread::yield();
    }
    turns.stop(std::make_exception_ptr(CollectiveError("interrupted")));
  });
  const auto errors = run(turns, [&](const Member& member) {
    ++started;
    if (member.rank() == 0) {
      const PauseGuard pause(turns, 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    member.sum(member.world(), 1);
    member.sum(member.world(), 1);
  });
  interrupter.join();
  for (const std::string& error : errors) {
    EXPECT_EQ(error, "interrupted");
  }
}

TEST(RankTurnsTest, SaysWhatWasNeverReceivedOrJoined) {
  RankTurns turns(2);
  const auto errors = run(turns, [&](const Member& member) {
    if (member.rank() == 0) {
      turns.send(0, 1, 9, member.world(), send_of(2, "s.py:4"), nullptr);
      turns.arrive(0, member.world(), barrier(), nullptr);
    }
  });
  EXPECT_EQ(errors, std::vector<std::string>(2));
  EXPECT_EQ(turns.leftovers(),
            "  rank 0: barrier (launch #0 of group \"world\") was never joined by all members\n"
            "  rank 0: send float32[2] (tag 9 in group \"world\") was never received  s.py:4\n");
}

TEST(RankTurnsTest, SaysWhatWasNotedOfSeveralRanksOnce) {
  RankTurns turns(3);
  for (const std::int64_t rank : {2, 0, 1}) {
    turns.note(rank, "of all");
  }
  turns.note(1, "of one");
  EXPECT_EQ(turns.leftovers(), "  ranks 0-2: of all\n  rank 1: of one\n");
}

TEST(RankTurnsTest, ManyRanksAndManyLaunches) {
  constexpr std::int64_t kRanks = 64;
  RankTurns turns(kRanks);
  std::vector<int> sums(kRanks);
  const auto errors = run(turns, [&](const Member& member) {
    for (int step = 0; step < 20; ++step) {
      sums[static_cast<std::size_t>(member.rank())] = member.sum(member.world(), step);
    }
  });
  EXPECT_EQ(errors, std::vector<std::string>(kRanks));
  EXPECT_EQ(sums, std::vector<int>(kRanks, 19 * 64));
}

}  // namespace
}  // namespace polyrank
