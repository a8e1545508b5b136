#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <polyrank/world/rank_thread.h>

#include <memory>

namespace polyrank {
namespace {

TEST(RankThreadTest, IsCurrentFromBeginToEnd) {
  RankThread rank(std::make_shared<RankTurns>(1), 0);
  EXPECT_EQ(RankThread::current(), nullptr);
  rank.begin();
  EXPECT_EQ(RankThread::current(), &rank);
  rank.end();
  EXPECT_EQ(RankThread::current(), nullptr);
}

TEST(RankThreadTest, KeepsItsGeneratorWhileItIsPaused) {
  RankThread rank(std::make_shared<RankTurns>(1), 0);
  rank.begin();
  at::manual_seed(1);
  rank.pause();
  at::manual_seed(2);  // another rank
  rank.resume();
  const at::Tensor drawn = at::rand({2});
  rank.end();
  at::manual_seed(1);
  EXPECT_TRUE(drawn.equal(at::rand({2})));
}

TEST(RankThreadTest, KeepsItsNumberOfThreadsWhileItIsPaused) {
  const int before = at::get_num_threads();
  RankThread rank(std::make_shared<RankTurns>(1), 0);
  rank.begin();
  at::set_num_threads(before + 1);
  rank.pause();
  at::set_num_threads(before + 2);  // another rank
  rank.resume();
  EXPECT_EQ(at::get_num_threads(), before + 1);
  rank.end();
  at::set_num_threads(before);
}

TEST(RankThreadTest, TellsWhenTheTurnCame) {
  int num_turns = 0;
  RankThread rank(std::make_shared<RankTurns>(1), 0, [&] { ++num_turns; });
  rank.begin();
  rank.yield();
  rank.pause();
  rank.resume();
  rank.end();
  EXPECT_EQ(num_turns, 3);
}

}  // namespace
}  // namespace polyrank
