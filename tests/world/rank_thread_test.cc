#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/world/rank_thread.h>

#include <chrono>
#include <thread>
#include <vector>

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

TEST(RankThreadTest, WhoWaitsForAKeyLetsOthersSetIt) {
  const auto turns = std::make_shared<RankTurns>(2);
  const auto store = c10::make_intrusive<RankStore>();
  std::vector<std::uint8_t> found;
  std::thread reader([&] {
    RankThread rank(turns, 0);
    rank.begin();
    found = store->get("key");  // rank 1 sets it, and can't run unless rank 0 gives the turn away
    rank.end();
  });
  std::thread writer([&] {
    RankThread rank(turns, 1);
    rank.begin();
    store->set("key", std::vector<std::uint8_t>{7});
    rank.end();
  });
  reader.join();
  writer.join();
  EXPECT_EQ(found, std::vector<std::uint8_t>{7});
}

}  // namespace
}  // namespace polyrank
