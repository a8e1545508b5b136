#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <matching/forked_ranks.h>
#include <matching/launches.h>
#include <polyrank/matching/quick_group.h>
#include <polyrank/matching/shared_run.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::HasSubstr;

// The group of all ranks as a rank sees it, whose launches sum numbers.
struct World {
  SharedRun& run;
  std::shared_ptr<const MeetingGroup> group;
  QuickGroup& quick;

  static World of(SharedRun& run) {
    std::vector<std::int64_t> members;
    for (std::int64_t rank = 0; rank < run.world_size(); ++rank) {
      members.push_back(rank);
    }
    QuickGroup& quick = run.join_group("world", members);
    return {run, std::make_shared<const MeetingGroup>(MeetingGroup{"world", members}), quick};
  }

  static std::shared_ptr<void> sum_of(const std::function<const void*(std::size_t)>& payload,
                                      std::size_t count) {
    std::int64_t sum = 0;
    for (std::size_t member = 0; member < count; ++member) {
      sum += *static_cast<const std::int64_t*>(payload(member));
    }
    return make_board_shared<std::int64_t>(sum);
  }

  std::int64_t finish(SharedArrival arrival) const {
    if (arrival.is_last) {
      const BoardMemoryScope scope(&run.arena());
      Meeting& meeting = *arrival.meeting;
      run.finish(arrival.meeting, sum_of([&](std::size_t i) { return meeting.payloads[i].get(); },
                                         meeting.payloads.size()));
    }
    run.wait(arrival.meeting, {});
    return *static_cast<const std::int64_t*>(arrival.meeting->outcome.get());
  }

  std::int64_t slowly(const Launch& launch, std::int64_t value) const {
    return finish(
        run.arrive(group, launch, [&] { return make_board_shared<std::int64_t>(value); }));
  }

  SharedRun::QuickEnd meet(std::optional<SharedRun::Brought> fresh,
                           void (*on_interrupt)() = nullptr) const {
    const auto carry_out = [&] {
      const BoardMemoryScope scope(&run.arena());
      quick.result =
          sum_of([&](std::size_t i) { return quick.parts[i].payload.get(); }, quick.parts.size());
      return true;
    };
    return run.meet_quickly(quick, static_cast<std::size_t>(run.rank()), std::move(fresh),
                            carry_out, on_interrupt);
  }

  std::int64_t quickly(const Launch& launch, std::int64_t value) const {
    SharedRun::QuickEnd end =
        meet(run.bring(launch, [&] { return make_board_shared<std::int64_t>(value); }));
    return end.arrival ? finish(std::move(*end.arrival))
                       : *static_cast<const std::int64_t*>(quick.result.get());
  }
};

RankEndings run_all(const std::shared_ptr<SharedRun>& run,
                    const std::function<void(const World&)>& program) {
  return run_forked(*run, [&](std::int64_t) { program(World::of(*run)); }, [&] { run->end(); });
}

TEST(SharedRunQuickTest, RanksMeetAndLeaveNothingBehind) {
  const auto run = std::make_shared<SharedRun>(3);
  const RankEndings endings = run_all(run, [](const World& world) {
    for (std::int64_t i = 0; i < 500; ++i) {
      EXPECT_EQ(world.quickly(all_reduce({4}), i + world.run.rank()), 3 * i + 3);
    }
  });
  EXPECT_THAT(endings, Each(""));
  EXPECT_LT(run->arena().used_bytes(), 100000U);
  EXPECT_EQ(run->leftovers(), "");
}

TEST(SharedRunQuickTest, APartKeepsWhatItSays) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_all(run, [](const World& world) {
    world.quickly(all_reduce({4}), 1);
    auto& own = *static_cast<std::int64_t*>(
        world.quick.parts[static_cast<std::size_t>(world.run.rank())].payload.get());
    for (std::int64_t i = 0; i < 500; ++i) {
      own = i;
      EXPECT_FALSE(world.meet(std::nullopt).arrival.has_value());
      EXPECT_EQ(*static_cast<const std::int64_t*>(world.quick.result.get()), 2 * i);
    }
  });
  EXPECT_THAT(endings, Each(""));
}

// Whichever way each rank comes, all come to the same launches.
TEST(SharedRunQuickTest, QuickAndOtherLaunchesMeet) {
  const auto run = std::make_shared<SharedRun>(4);
  const RankEndings endings = run_all(run, [](const World& world) {
    std::mt19937_64 random(static_cast<std::uint64_t>(world.run.rank()));
    for (std::int64_t i = 0; i < 2000; ++i) {
      const bool is_quick = random() % 4 != 0;
      const std::int64_t sum =
          is_quick ? world.quickly(all_reduce({4}), i) : world.slowly(all_reduce({4}), i);
      ASSERT_EQ(sum, 4 * i);
    }
  });
  EXPECT_THAT(endings, Each(""));
  EXPECT_LT(run->arena().used_bytes(), 100000U);
  EXPECT_EQ(run->leftovers(), "");
}

TEST(SharedRunQuickTest, LaunchesThatDoNotMatchFailOnAllSides) {
  for (const bool is_other_quick : {true, false}) {
    const auto run = std::make_shared<SharedRun>(3);
    const RankEndings endings = run_all(run, [&](const World& world) {
      world.quickly(all_reduce({4}), 0);
      const Launch launch = all_reduce({world.run.rank() == 2 ? 5 : 4});
      if (world.run.rank() == 2 && !is_other_quick) {
        world.slowly(launch, 0);
      } else {
        world.quickly(launch, 0);
      }
    });
    EXPECT_THAT(endings, Each(HasSubstr("group \"world\" (ranks 0-2), launch #1: ranks disagree")));
  }
}

TEST(SharedRunQuickTest, WhoWaitsForARankThatHasReturnedIsTold) {
  const auto run = std::make_shared<SharedRun>(3);
  const RankEndings endings = run_all(run, [](const World& world) {
    world.quickly(all_reduce({4}), 0);
    world.quickly(all_reduce({4}, ReduceOp::kSum, "s.py:4"), 0);
    if (world.run.rank() != 1) {
      world.quickly(all_reduce({4}, ReduceOp::kSum, "s.py:5"), 0);
    }
  });
  EXPECT_THAT(endings[0], HasSubstr("Rank 0 waits for rank 1, which has returned"));
  EXPECT_THAT(endings[0], HasSubstr("(launch #2 of group \"world\")"));
  EXPECT_THAT(endings[0], HasSubstr("s.py:5"));
  EXPECT_EQ(endings[1], "");
  EXPECT_EQ(endings[2], endings[0]);
}

TEST(SharedRunQuickTest, ADeadlockOfAQuickAndAnotherWaitIsSeen) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_all(run, [](const World& world) {
    if (world.run.rank() == 0) {
      world.quickly(all_reduce({4}), 0);
    } else {
      const auto received = world.run.receive(0, 0, world.group, recv_of(2), nullptr);
      world.run.wait(received.meeting, {});
    }
  });
  EXPECT_THAT(endings, Each(HasSubstr("Cycle: rank 0 -> rank 1 -> rank 0.")));
}

TEST(SharedRunQuickTest, ARankThatDiesIsNamedWithItsLastLaunch) {
  const auto run = std::make_shared<SharedRun>(3);
  const RankEndings endings = run_all(run, [](const World& world) {
    world.quickly(all_reduce({4}), 0);
    world.quickly(all_reduce({4}, ReduceOp::kSum, "s.py:5"), 0);
    if (world.run.rank() == 1) {
      raise(SIGKILL);
    }
    world.quickly(all_reduce({4}), 0);
  });
  EXPECT_THAT(endings[0], HasSubstr("rank 1 failed, so the run ends: died by signal 9; its last "
                                    "launch was all_reduce(sum) float32[4] (launch #1 of group "
                                    "\"world\")  s.py:5"));
  EXPECT_EQ(endings[2], endings[0]);
}

TEST(SharedRunQuickTest, SurvivorsAreToldWheneverARankIsKilled) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 30; ++round) {
    const auto run = std::make_shared<SharedRun>(3);
    const auto life = std::chrono::microseconds(random() % 3000);
    const RankEndings endings = run_all(run, [&](const World& world) {
      std::thread killer;
      if (world.run.rank() == 1) {
        killer = std::thread([&] {
          std::this_thread::sleep_for(life);
          kill(getpid(), SIGKILL);
        });
      }
      while (true) {
        world.quickly(all_reduce({4}), 0);
      }
    });
    EXPECT_EQ(endings[1], "signal 9");
    const auto is_told = AnyOf(HasSubstr("rank 1"), HasSubstr("a rank died while it changed"));
    EXPECT_THAT(endings[0], is_told);
    EXPECT_THAT(endings[2], is_told);
  }
}

TEST(SharedRunQuickTest, WhatCannotBeCarriedOutQuicklyIsCarriedOutByTheBoard) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_all(run, [](const World& world) {
    for (std::int64_t i = 0; i < 3; ++i) {
      SharedRun::QuickEnd end = world.run.meet_quickly(
          world.quick, static_cast<std::size_t>(world.run.rank()),
          world.run.bring(all_reduce({4}), [&] { return make_board_shared<std::int64_t>(i); }),
          [] { return false; }, nullptr);
      ASSERT_TRUE(end.arrival.has_value());
      EXPECT_EQ(world.finish(std::move(*end.arrival)), 2 * i);
    }
  });
  EXPECT_THAT(endings, Each(""));
}

// Its launch stays, and meets the others'.
TEST(SharedRunQuickTest, ASignalInterruptsTheWait) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_all(run, [](const World& world) {
    if (world.run.rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      EXPECT_EQ(world.quickly(all_reduce({4}), 3), 10);
      return;
    }
    signal(SIGALRM, [](int) {});
    std::thread alarm([main = pthread_self()] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      pthread_kill(main, SIGALRM);
    });
    SharedRun::QuickEnd end = world.meet(
        world.run.bring(all_reduce({4}), [] { return make_board_shared<std::int64_t>(7); }),
        [] { throw std::runtime_error("interrupted"); });
    alarm.join();
    EXPECT_NE(end.interrupt, nullptr);
    ASSERT_TRUE(end.arrival.has_value());
    EXPECT_EQ(world.finish(std::move(*end.arrival)), 10);
  });
  EXPECT_THAT(endings, Each(""));
}

TEST(SharedRunQuickTest, WhoAsksSeesWhoWaitsAndTheRunGoesOn) {
  const auto run = std::make_shared<SharedRun>(3);
  const RankEndings endings = run_all(run, [](const World& world) {
    if (world.run.rank() == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      EXPECT_THAT(world.run.activity(), HasSubstr("ranks 0-1 wait"));
    }
    for (std::int64_t i = 0; i < 10; ++i) {
      EXPECT_EQ(world.quickly(all_reduce({4}), i), 3 * i);
    }
  });
  EXPECT_THAT(endings, Each(""));
}

TEST(SharedRunQuickTest, WhatAMemberKeepsGoesWithIt) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_all(run, [](const World& world) {
    world.quickly(all_reduce({4}), 1);
    const auto member = static_cast<std::size_t>(world.run.rank());
    world.run.leave_group(world.quick, member);
    EXPECT_EQ(world.quick.parts[member].payload, nullptr);
  });
  EXPECT_THAT(endings, Each(""));
}

TEST(SharedRunQuickTest, NotWhereTheRunHasAnOrderOrATimeOutNorOnOtherThreads) {
  SharedRun plain(2);
  plain.begin(0);
  EXPECT_TRUE(plain.can_meet_quickly());
  std::thread([&] { EXPECT_FALSE(plain.can_meet_quickly()); }).join();
  SharedRun ordered(2, {.order = TurnOrder::kFirstReady});
  ordered.begin(0);
  EXPECT_FALSE(ordered.can_meet_quickly());
  SharedRun limited(2, {.timeout = std::chrono::milliseconds(10)});
  limited.begin(0);
  EXPECT_FALSE(limited.can_meet_quickly());
}

}  // namespace
}  // namespace polyrank
