#include <gtest/gtest.h>
#include <matching/launches.h>
#include <polyrank/matching/thread_lines.h>

#include <memory>
#include <string>

namespace polyrank {
namespace {

std::shared_ptr<const Meeting> event_of(std::int64_t rank, const std::string& event) {
  auto meeting = std::make_shared<Meeting>();
  meeting->participants = {rank};
  meeting->launches = {Launch{.where = "t.py:3"}};
  meeting->event = event;
  return meeting;
}

TEST(ThreadLinesTest, RanksThatDoTheSameShareALine) {
  MatchBoard board(4);
  const auto world = board.join_group("world", {0, 1, 2, 3});
  for (const std::int64_t rank : {0, 2}) {
    board.set_waiting(rank, board.arrive(rank, world, barrier(), nullptr));
  }
  board.set_returned(3);
  EXPECT_EQ(describe_threads(board, "rank"),
            "  ranks 0,2 wait in barrier (launch #0 of group \"world\") for ranks 1,3\n"
            "  rank 1 runs\n"
            "  rank 3 has returned\n");
}

TEST(ThreadLinesTest, ThreadsThatRanksHaveStartedFollow) {
  MatchBoard board(2);
  for (const std::int64_t rank : {0, 1, 1}) {
    board.set_waiting(board.add_thread(rank), event_of(rank, "a queue"));
  }
  const std::int64_t other = board.add_thread(1);
  board.set_waiting(other, event_of(1, "a lock"));
  EXPECT_EQ(describe_threads(board, "rank"),
            "  ranks 0-1 run\n"
            "  threads of ranks 0-1 wait for a queue  t.py:3\n"
            "  a thread of rank 1 waits for a lock  t.py:3\n");
  board.remove_thread(other);
  EXPECT_EQ(describe_threads(board, "rank").find("a lock"), std::string::npos);
}

TEST(ThreadLinesTest, TheCallerSaysWhereThoseAreThatDoNotWait) {
  MatchBoard board(2);
  board.set_returned(1);
  EXPECT_EQ(describe_threads(board, "runner",
                             [](std::int64_t thread, bool is_one) {
                               return std::to_string(thread) + (is_one ? " alone" : " and others");
                             }),
            "  runner 0 0 alone\n"
            "  runner 1 has returned\n");
}

TEST(ThreadLinesTest, WhoeverHasNotComeIsMissing) {
  MatchBoard board(3);
  const auto world = board.join_group("world", {0, 1, 2});
  const auto meeting = board.arrive(1, world, barrier(), nullptr);
  EXPECT_EQ(missing_of(*meeting), (std::vector<std::int64_t>{0, 2}));
  EXPECT_EQ(whom(*meeting, "rank"), "ranks 0,2");
  EXPECT_EQ(whom(*event_of(0, "a lock"), "rank"), "any rank");
}

}  // namespace
}  // namespace polyrank
