#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <matching/forked_ranks.h>
#include <matching/launches.h>
#include <polyrank/core/errors.h>
#include <polyrank/matching/shared_run.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

// What ranks do, in the order in which they do it.
struct Steps {
  std::array<std::atomic<std::int64_t>, 256> of{};
  std::atomic<std::size_t> number = 0;

  void add(std::int64_t step) { of.at(number++) = step; }
  std::vector<std::int64_t> all() const { return {of.begin(), of.begin() + number}; }
};

struct Ordered {
  RankEndings endings;
  std::vector<std::int64_t> steps;
};

using Program = std::function<void(SharedRun&, Steps&)>;

Ordered run_in_order(std::int64_t world_size, SharedRunOptions options, const Program& program) {
  const auto run = std::make_shared<SharedRun>(world_size, options);
  auto* const steps = new (run->arena().allocate(sizeof(Steps))) Steps;
  Ordered ran;
  ran.endings = run_forked(
      *run,
      [&](std::int64_t) {
        run->take_turn(nullptr);
        program(*run, *steps);
      },
      [&] { run->end(); });
  ran.steps = steps->all();
  return ran;
}

std::shared_ptr<const MeetingGroup> world_of(SharedRun& run) {
  std::vector<std::int64_t> members(static_cast<std::size_t>(run.world_size()));
  std::iota(members.begin(), members.end(), 0);
  run.join_group("world", members);
  return std::make_shared<const MeetingGroup>(MeetingGroup{"world", members});
}

void meet(SharedRun& run, const std::shared_ptr<const MeetingGroup>& group) {
  SharedArrival arrival = run.arrive(group, all_reduce({4}), nullptr);
  if (arrival.is_last) {
    run.finish(arrival.meeting, nullptr);
  }
  run.wait(arrival.meeting, {});
}

const Program kThreeMeetings = [](SharedRun& run, Steps& steps) {
  const auto group = world_of(run);
  for (int i = 0; i < 3; ++i) {
    steps.add(run.rank());
    std::this_thread::sleep_for(std::chrono::microseconds(300 * (3 - run.rank())));
    steps.add(run.rank());
    meet(run, group);
  }
};

TEST(SharedRunWaitingTest, OneRankGoesAtATimeFromWaitToWait) {
  const Ordered ran = run_in_order(3, {.order = TurnOrder::kFirstReady}, kThreeMeetings);
  EXPECT_THAT(ran.endings, Each(""));
  // The last one to come goes on at once; who waited for it follows.
  EXPECT_EQ(ran.steps,
            (std::vector<std::int64_t>{0, 0, 1, 1, 2, 2, 2, 2, 0, 0, 1, 1, 1, 1, 0, 0, 2, 2}));
}

TEST(SharedRunWaitingTest, ASeedRepeats) {
  std::set<std::vector<std::int64_t>> orders;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const SharedRunOptions options{.order = TurnOrder::kRandom, .seed = seed};
    const Ordered ran = run_in_order(3, options, kThreeMeetings);
    EXPECT_THAT(ran.endings, Each(""));
    EXPECT_EQ(ran.steps, run_in_order(3, options, kThreeMeetings).steps);
    orders.insert(ran.steps);
  }
  EXPECT_GT(orders.size(), 2U);
}

TEST(SharedRunWaitingTest, WhoTimesOutGoesOnInLine) {
  const Ordered ran =
      run_in_order(2, {.order = TurnOrder::kFirstReady}, [](SharedRun& run, Steps& steps) {
        const auto group = world_of(run);
        if (run.rank() == 1) {
          std::this_thread::sleep_for(std::chrono::milliseconds(100));
          steps.add(1);
          return;
        }
        const SharedArrival arrival = run.arrive(group, all_reduce({4}), nullptr);
        EXPECT_THROW(run.wait(arrival.meeting, {.timeout = std::chrono::milliseconds(10)}),
                     CollectiveError);
        EXPECT_TRUE(run.has_turn());
        steps.add(0);
      });
  EXPECT_THAT(ran.endings, Each(""));
  EXPECT_EQ(ran.steps, (std::vector<std::int64_t>{1, 0}));
}

TEST(SharedRunWaitingTest, WhoYieldsLetsTheOthersGo) {
  const Ordered ran =
      run_in_order(3, {.order = TurnOrder::kFirstReady}, [](SharedRun& run, Steps& steps) {
        steps.add(run.rank());
        run.yield(nullptr);
        steps.add(run.rank());
      });
  EXPECT_EQ(ran.steps, (std::vector<std::int64_t>{0, 1, 2, 0, 1, 2}));
}

TEST(SharedRunWaitingTest, AFailureAndADeadlockEndTheTurns) {
  const Ordered failed =
      run_in_order(3, {.order = TurnOrder::kFirstReady}, [](SharedRun& run, Steps&) {
        const auto group = world_of(run);
        if (run.rank() == 1) {
          throw std::runtime_error("no data");
        }
        meet(run, group);
      });
  EXPECT_THAT(failed.endings[0], HasSubstr("rank 1 failed"));
  EXPECT_EQ(failed.endings[2], failed.endings[0]);
  const Ordered stuck =
      run_in_order(2, {.order = TurnOrder::kRandom, .seed = 3}, [](SharedRun& run, Steps&) {
        const auto group = world_of(run);
        if (run.rank() == 1) {
          meet(run, group);
        }
      });
  EXPECT_EQ(stuck.endings[0], "");
  EXPECT_THAT(stuck.endings[1], HasSubstr("Rank 1 waits for rank 0, which has returned"));
}

// Another thread of the rank has launched when the first one waits: the rank gives its turn away.
TEST(SharedRunWaitingTest, AThreadOfARankGoesInTheRanksTurn) {
  const Ordered ran =
      run_in_order(2, {.order = TurnOrder::kFirstReady}, [](SharedRun& run, Steps& steps) {
        const auto group = world_of(run);
        const std::vector<std::int64_t> both{0, 1};
        run.join_group("other", both);
        const auto other = std::make_shared<const MeetingGroup>(MeetingGroup{"other", both});
        std::atomic<bool> has_launched = false;
        std::thread thread([&] {
          run.take_turn(nullptr);
          steps.add(10 + run.rank());
          SharedArrival arrival = run.arrive(other, all_reduce({4}), nullptr);
          if (arrival.is_last) {
            run.finish(arrival.meeting, nullptr);
          }
          has_launched = true;
          run.wait(arrival.meeting, {});
        });
        while (!has_launched) {
          std::this_thread::yield();
        }
        steps.add(run.rank());
        meet(run, group);
        thread.join();
      });
  EXPECT_THAT(ran.endings, Each(""));
  EXPECT_EQ(ran.steps, (std::vector<std::int64_t>{10, 0, 11, 1}));
}

// Both wait, rank 0 with another thread, which sees that and does nothing about it.
TEST(SharedRunWaitingTest, AStandstillBesideOtherThreadsIsOneWhenTheCallerSaysSo) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_forked(
      *run,
      [&](std::int64_t rank) {
        const auto group = world_of(*run);
        std::thread other;
        if (rank == 0) {
          other = std::thread([&] {
            std::optional<SharedRun::Stillness> stillness;
            while (!stillness || stillness->ranks != std::vector<std::int64_t>{0}) {
              stillness = run->stillness();  // until rank 1 waits, too
            }
            run->end_stillness(stillness->number + 1, nullptr);  // of another time
            EXPECT_TRUE(run->stillness());
            run->end_stillness(stillness->number, nullptr);
          });
        }
        const auto received = run->receive(1 - rank, 0, group, recv_of(2, "s.py:7"), nullptr);
        try {
          run->wait(received.meeting, {.may_go_on = rank == 0});
        } catch (const DeadlockError&) {
          if (other.joinable()) {
            other.join();
          }
          throw;
        }
      },
      [&] { run->end(); });
  EXPECT_EQ(endings[0], endings[1]);
  EXPECT_THAT(endings[0], HasSubstr("no rank can proceed"));
}

// Rank 1 is nowhere in the run, and says that it never will be. It is interrupted before rank 0 is
// told.
TEST(SharedRunWaitingTest, WhoSleepsElsewhereIsInterruptedBeforeAnybodyIsTold) {
  const auto run = std::make_shared<SharedRun>(2);
  const RankEndings endings = run_forked(
      *run,
      [&](std::int64_t rank) {
        if (rank == 0) {
          const auto received = run->receive(1, 0, world_of(*run), recv_of(2, "s.py:7"), nullptr);
          run->wait(received.meeting, {});
        }
        run->raise_failure();  // there is none yet
        std::optional<SharedRun::Stillness> stillness;
        while (!stillness) {
          stillness = run->stillness();
        }
        EXPECT_EQ(stillness->ranks, std::vector<std::int64_t>{1});
        std::vector<std::int64_t> interrupted;
        run->end_stillness(stillness->number, [&](std::int64_t other) {
          EXPECT_FALSE(run->failure());
          interrupted.push_back(other);
        });
        EXPECT_EQ(interrupted, std::vector<std::int64_t>{1});
        run->raise_failure();
      },
      [&] { run->end(); });
  EXPECT_EQ(endings[0], endings[1]);
  EXPECT_THAT(endings[0], HasSubstr("rank 1 sleeps until another thread of its own wakes it"));
}

}  // namespace
}  // namespace polyrank
