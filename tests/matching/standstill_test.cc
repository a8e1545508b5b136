#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <matching/launches.h>
#include <polyrank/core/errors.h>
#include <polyrank/matching/standstill.h>

#include <numeric>
#include <string>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

template <class ErrorType>
std::string text_of(const std::exception_ptr& error) {
  if (error == nullptr) {
    return "no error";
  }
  try {
    std::rethrow_exception(error);
  } catch (const ErrorType& found) {
    return found.what();
  } catch (const std::exception& other) {
    return std::string("another error: ") + other.what();
  }
}

TEST(StandstillTest, GroupsTakenInDifferentOrderAreACycle) {
  MatchBoard board(2);
  const auto a = board.join_group("a", {0, 1});
  const auto b = board.join_group("b", {0, 1});
  board.set_waiting(0, board.arrive(0, a, all_reduce({4}, ReduceOp::kSum, "t.py:3"), nullptr));
  board.set_waiting(1, board.arrive(1, b, all_reduce({4}, ReduceOp::kSum, "t.py:7"), nullptr));
  ASSERT_TRUE(board.is_stuck());
  EXPECT_EQ(text_of<DeadlockError>(explain_standstill(board)),
            "no rank can proceed.\n"
            "  rank 0 waits in all_reduce(sum) float32[4] (launch #0 of group \"a\") for rank 1"
            "  t.py:3\n"
            "  rank 1 waits in all_reduce(sum) float32[4] (launch #0 of group \"b\") for rank 0"
            "  t.py:7\n"
            "Cycle: rank 0 -> rank 1 -> rank 0. Let all ranks take groups and messages in one "
            "order, or use async_op, isend and irecv and wait afterwards.");
}

TEST(StandstillTest, ARankThatReturnedIsTheCause) {
  MatchBoard board(4);
  const auto world = board.join_group("world", {0, 1, 2, 3});
  for (const std::int64_t rank : {0, 1, 2}) {
    board.set_waiting(rank, board.arrive(rank, world, barrier(), nullptr));
  }
  board.set_returned(3);
  const std::string text = text_of<DeadlockError>(explain_standstill(board));
  EXPECT_NE(text.find("  ranks 0-2 wait in barrier (launch #0 of group \"world\") for rank 3\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("  rank 3 has returned\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Rank 0 waits for rank 3, which has returned."), std::string::npos) << text;
}

TEST(StandstillTest, AWaitWithATimeOutIsNone) {
  MatchBoard board(2);
  const auto world = board.join_group("world", {0, 1});
  const auto meeting = board.arrive(0, world, barrier(), nullptr);
  board.set_waiting(0, meeting, OtherEnd::kTimeout);
  board.set_returned(1);
  EXPECT_FALSE(board.is_stuck());
  EXPECT_EQ(
      text_of<CollectiveError>(explain_timeout(board, 0, *meeting, std::chrono::milliseconds(20))),
      "rank 0 timed out after 20 ms in barrier (launch #0 of group \"world\"), waiting for "
      "rank 1.\n"
      "  rank 0 waits in barrier (launch #0 of group \"world\") for rank 1\n"
      "  rank 1 has returned\n"
      "Give the wait more time, or none: a wait that can't end is found without.");
  board.set_waiting(0, meeting);
  EXPECT_TRUE(board.is_stuck());
}

TEST(StandstillTest, AMonitoredBarrierSaysWhatGloosSays) {
  MatchBoard board(6);
  const auto group = board.join_group("odd", {1, 3, 5});
  Launch launch{.kind = CollectiveKind::kMonitoredBarrier};
  const auto meeting = board.arrive(1, group, launch, nullptr);
  const auto text = [&](std::int64_t rank) {
    return text_of<CollectiveError>(
        explain_timeout(board, rank, *meeting, std::chrono::milliseconds(20)));
  };
  EXPECT_THAT(text(1), StartsWith("Rank 0 timed out in monitoredBarrier: Ranks 1, 2 failed to pass "
                                  "monitoredBarrier in 20 ms. rank 1 timed out after 20 ms"));
  board.arrive(5, group, launch, nullptr);
  EXPECT_THAT(text(1), HasSubstr(": Rank 1 failed to pass monitoredBarrier in 20 ms."));
  EXPECT_THAT(text(5),
              StartsWith("Rank 2 successfully reached monitoredBarrier, but received errors "
                         "while waiting for send/recv from rank 0. rank 5 timed out"));
}

TEST(StandstillTest, APlainBarrierMeetsNoMonitoredOne) {
  MatchBoard board(2);
  const auto world = board.join_group("world", {0, 1});
  board.arrive(0, world, barrier(), nullptr);
  const auto meeting =
      board.arrive(1, world, Launch{.kind = CollectiveKind::kMonitoredBarrier}, nullptr);
  EXPECT_THAT(text_of<CollectiveMismatchError>(explain_mismatch(*meeting)),
              HasSubstr("  rank 0: barrier\n  rank 1: monitored_barrier\n"));
}

TEST(StandstillTest, RanksAreCalledWhatTheBoardsAreCalled) {
  MatchBoard board(2);
  const auto world = board.join_group("world", {0, 1});
  const auto meeting = board.arrive(0, world, barrier(), nullptr);
  board.set_waiting(0, meeting);
  board.set_returned(1);
  const std::string late = text_of<CollectiveError>(
      explain_timeout(board, 0, *meeting, std::chrono::milliseconds(20), "runner"));
  EXPECT_EQ(late.substr(0, late.find("Give")),
            "runner 0 timed out after 20 ms in barrier (launch #0 of group \"world\"), waiting for "
            "runner 1.\n"
            "  runner 0 waits in barrier (launch #0 of group \"world\") for runner 1\n"
            "  runner 1 has returned\n");
  const std::string stuck = text_of<DeadlockError>(explain_standstill(board, "runner"));
  EXPECT_NE(stuck.find("Runner 0 waits for runner 1, which has returned."), std::string::npos)
      << stuck;
}

TEST(StandstillTest, AReceiveFromAnyThatNobodySendsFor) {
  MatchBoard board(2);
  const auto world = board.join_group("world", {0, 1});
  board.set_waiting(0, board.receive(0, Meeting::kAnyRank, 3, world, recv_of(2), nullptr));
  board.set_returned(1);
  const std::string text = text_of<DeadlockError>(explain_standstill(board));
  EXPECT_NE(text.find("recv float32[2] (tag 3 in group \"world\") for any rank"), std::string::npos)
      << text;
  EXPECT_NE(text.find("Nobody sends what rank 0 waits to receive from any rank."),
            std::string::npos)
      << text;
}

TEST(StandstillTest, LaunchesThatDifferAreTheLikelyCause) {
  MatchBoard board(3);
  const auto world = board.join_group("world", {0, 1, 2});
  board.set_waiting(0, board.arrive(0, world, all_reduce({4}), nullptr));
  board.set_waiting(1, board.arrive(1, world, broadcast(0), nullptr));
  board.set_returned(2);
  const std::string text = text_of<CollectiveMismatchError>(explain_standstill(board));
  EXPECT_NE(text.find("group \"world\" (ranks 0-2), launch #0: ranks disagree."), std::string::npos)
      << text;
  EXPECT_NE(text.find("(rank 2 did not come.)"), std::string::npos) << text;
}

TEST(StandstillTest, AMessageMustFitItsBuffer) {
  MatchBoard board(2);
  const auto world = board.join_group("world", {0, 1});
  board.send(0, 1, 0, world, send_of(4, "s.py:1"), nullptr);
  const auto meeting = board.receive(1, 0, 0, world, recv_of(3, "r.py:2"), nullptr);
  const std::string text = text_of<CollectiveMismatchError>(explain_mismatch(*meeting));
  EXPECT_NE(text.find("rank 0: send float32[4]  s.py:1"), std::string::npos) << text;
  EXPECT_NE(text.find("rank 1: recv float32[3]  r.py:2"), std::string::npos) << text;
  board.send(0, 1, 0, world, send_of(3), nullptr);
  EXPECT_EQ(explain_mismatch(*board.receive(1, 0, 0, world, recv_of(3), nullptr)), nullptr);
}

TEST(StandstillTest, LinesAreLimitedInLargeWorlds) {
  constexpr std::int64_t kRanks = 40;
  MatchBoard board(kRanks);
  std::vector<std::int64_t> all(kRanks);
  std::iota(all.begin(), all.end(), std::int64_t{0});
  const auto world = board.join_group("world", all);
  for (const std::int64_t rank : all) {
    board.set_waiting(rank,
                      board.receive(rank, (rank + 1) % kRanks, 0, world, recv_of(rank), nullptr));
  }
  const std::string text = text_of<DeadlockError>(explain_standstill(board));
  EXPECT_NE(text.find("… and 24 other places"), std::string::npos) << text;
  EXPECT_NE(text.find("rank 39 -> rank 0."), std::string::npos) << text;
}

TEST(StandstillTest, AMismatchNamesRanksOfWhichSeveralThreadsLaunch) {
  MatchBoard board(2);
  const auto world = board.join_group("world", {0, 1});
  Launch launch = all_reduce({4});
  launch.is_of_several_threads = true;
  const auto meeting = board.arrive(0, world, launch, nullptr);
  board.arrive(1, world, barrier(), nullptr);
  try {
    std::rethrow_exception(explain_mismatch(*meeting));
  } catch (const CollectiveMismatchError& error) {
    EXPECT_NE(std::string(error.what()).find("Several threads of rank 0 launched in this group"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace polyrank
