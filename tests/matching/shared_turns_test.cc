#include <gtest/gtest.h>
#include <polyrank/matching/shared_turns.h>

#include <thread>

namespace polyrank {
namespace {

TEST(SharedTurnsTest, OneHasTheTurnUntilItLeaves) {
  SharedTurns turns(3, TurnOrder::kFirstReady, 0);
  EXPECT_TRUE(turns.has_turn(0));
  EXPECT_FALSE(turns.has_turn(1));
  turns.leave(0);
  EXPECT_FALSE(turns.has_turn(0));
  EXPECT_TRUE(turns.has_turn(1));
  turns.leave(2);  // it had not begun
  turns.add(0);
  turns.add(0);  // once is enough
  turns.leave(1);
  EXPECT_TRUE(turns.has_turn(0));
  turns.leave(0);
  EXPECT_FALSE(turns.turn());
  turns.add(2);  // nobody has the turn: at once
  EXPECT_TRUE(turns.has_turn(2));
}

TEST(SharedTurnsTest, WhoYieldsComesBackInLine) {
  SharedTurns turns(2, TurnOrder::kFirstReady, 0);
  turns.yield(0);
  EXPECT_TRUE(turns.has_turn(1));
  turns.yield(1);
  EXPECT_TRUE(turns.has_turn(0));
  turns.leave(0);
  turns.yield(0);  // it had lost its turn, and comes back
  turns.leave(1);
  EXPECT_TRUE(turns.has_turn(0));
  turns.yield(0);  // alone: it keeps it
  EXPECT_TRUE(turns.has_turn(0));
}

TEST(SharedTurnsTest, ATurnIsEndedFromOutsideOnlyWhileItLasts) {
  SharedTurns turns(2, TurnOrder::kFirstReady, 0);
  const auto first = turns.turn();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->rank, 0);
  turns.end_turn(first->number);
  EXPECT_TRUE(turns.has_turn(1));
  EXPECT_FALSE(turns.turn());  // nobody waits for its end: rank 0 is outside
  turns.add(0);
  turns.end_turn(first->number);  // that turn is over
  EXPECT_TRUE(turns.has_turn(1));
}

TEST(SharedTurnsTest, WhenTurnsStopEverybodyGoes) {
  SharedTurns turns(3, TurnOrder::kRandom, 5);
  std::thread waiting([&] { turns.await(2, nullptr); });
  turns.stop();
  waiting.join();
  turns.leave(0);
  turns.add(1);
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    EXPECT_TRUE(turns.has_turn(rank));
  }
}

}  // namespace
}  // namespace polyrank
