#include <gtest/gtest.h>
#include <polyrank/matching/turn_queue.h>

#include <set>
#include <vector>

namespace polyrank {
namespace {

std::vector<std::int64_t> turns_of(TurnQueue queue) {
  std::vector<std::int64_t> turns;
  for (auto holder = queue.holder(); holder; holder = queue.pass()) {
    turns.push_back(*holder);
  }
  return turns;
}

TEST(TurnQueueTest, WhoCouldGoOnFirstGoesFirst) {
  EXPECT_EQ(turns_of(TurnQueue(4, TurnOrder::kFirstReady, 7)),
            (std::vector<std::int64_t>{0, 1, 2, 3}));
}

// Invariant 1; each gets its turn, and who is next depends on the seed alone.
TEST(TurnQueueTest, ASeedDrawsOneOrder) {
  std::set<std::vector<std::int64_t>> orders;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::vector<std::int64_t> turns = turns_of(TurnQueue(4, TurnOrder::kRandom, seed));
    EXPECT_EQ(turns, turns_of(TurnQueue(4, TurnOrder::kRandom, seed)));
    EXPECT_EQ(turns.front(), 0);
    EXPECT_EQ(std::set(turns.begin(), turns.end()).size(), 4U);
    orders.insert(turns);
  }
  EXPECT_EQ(orders.size(), 6U);  // all that there are after rank 0
}

TEST(TurnQueueTest, WhoCannotGoOnIsLeftOut) {
  TurnQueue queue(3, TurnOrder::kFirstReady, 0);
  EXPECT_TRUE(queue.is_ready(1));
  queue.remove(1);
  EXPECT_FALSE(queue.is_ready(1));
  EXPECT_EQ(queue.pass(), 2);
  EXPECT_FALSE(queue.is_anyone_ready());
  EXPECT_EQ(queue.pass(), std::nullopt);
  EXPECT_EQ(queue.holder(), std::nullopt);
  queue.add(1);
  EXPECT_EQ(queue.pass(), 1);
}

}  // namespace
}  // namespace polyrank
