#include <gtest/gtest.h>
#include <polyrank/engine/random_turn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace polyrank {
namespace {

TEST(RandomTurn, IsOneThreadsAtATime) {
  constexpr int kThreads = 4;
  constexpr int kTurns = 1000;
  std::atomic<int> num_inside = 0;
  std::atomic<int> most_inside = 0;
  int total = 0;  // not atomic: the turn alone keeps threads apart
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < kTurns; ++i) {
        const RandomTurn turn;
        most_inside = std::max(most_inside.load(), ++num_inside);
        ++total;
        --num_inside;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(most_inside, 1);
  EXPECT_EQ(total, kThreads * kTurns);
}

TEST(RandomTurn, MayBeTakenAgainByWhoHasIt) {
  std::atomic<bool> is_taken = false;
  std::thread other;
  {
    const RandomTurn turn;
    {
      const RandomTurn again;
    }
    other = std::thread([&] {
      const RandomTurn of_other;
      is_taken = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(is_taken);  // giving one of two back gives nothing away
  }
  other.join();
  EXPECT_TRUE(is_taken);
}

}  // namespace
}  // namespace polyrank
