#include <gtest/gtest.h>
#include <matching/interleavings.h>
#include <matching/launches.h>
#include <polyrank/core/errors.h>
#include <polyrank/matching/match_board.h>

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {
namespace {

template <class ErrorType, class Function>
std::string message_of(Function function) {
  try {
    function();
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "no such error";
}

TEST(MatchBoardTest, GroupsOfOneRankHaveNamesOfTheirOwn) {
  MatchBoard board(3);
  const auto zero = board.join_group("7", {0});
  const auto one = board.join_group("7", {1});
  EXPECT_TRUE(board.arrive(1, one, barrier(), nullptr)->is_complete());
  EXPECT_TRUE(board.arrive(0, zero, barrier(), nullptr)->is_complete());
  EXPECT_EQ(board.join_group("7", {1}), one);
  EXPECT_THROW(board.join_group("7", {1, 2}), CollectiveMismatchError);
}

TEST(MatchBoardTest, TheKthLaunchesOfAllMembersMeet) {
  MatchBoard board(2);
  const auto group = board.join_group("world", {0, 1});
  const auto first = board.arrive(0, group, barrier(), nullptr);
  const auto second = board.arrive(0, group, barrier(), nullptr);
  EXPECT_NE(first, second);
  EXPECT_EQ(board.arrive(1, group, barrier(), nullptr), first);  // (1)
  EXPECT_TRUE(first->is_complete());
  EXPECT_FALSE(second->is_complete());
  EXPECT_EQ(board.arrive(1, group, barrier(), nullptr), second);
  EXPECT_TRUE(board.open_meetings().empty());
}

TEST(MatchBoardTest, GroupsCountTheirLaunchesApart) {
  MatchBoard board(3);
  const auto low = board.join_group("low", {0, 1});
  const auto high = board.join_group("high", {1, 2});
  const auto in_low = board.arrive(1, low, barrier(), nullptr);
  const auto in_high = board.arrive(1, high, barrier(), nullptr);
  EXPECT_EQ(board.arrive(2, high, barrier(), nullptr), in_high);
  EXPECT_EQ(board.arrive(0, low, barrier(), nullptr), in_low);
}

TEST(MatchBoardTest, PayloadsStandInTheOrderOfTheGroup) {
  MatchBoard board(2);
  const auto group = board.join_group("reversed", {1, 0});
  const auto payload = std::make_shared<int>(7);
  const auto meeting = board.arrive(0, group, barrier(), payload);
  EXPECT_EQ(meeting->payloads[1], payload);
  EXPECT_EQ(meeting->payloads[0], nullptr);
}

TEST(MatchBoardTest, MessagesOfOneTagKeepTheirOrder) {
  MatchBoard board(2);
  const auto group = board.join_group("world", {0, 1});
  const auto first = board.send(0, 1, 5, group, send_of(1), nullptr);
  const auto second = board.send(0, 1, 5, group, send_of(2), nullptr);
  const auto other_tag = board.send(0, 1, 6, group, send_of(3), nullptr);
  EXPECT_EQ(board.receive(1, 0, 6, group, recv_of(3), nullptr), other_tag);
  EXPECT_EQ(board.receive(1, 0, 5, group, recv_of(1), nullptr), first);  // (1)
  EXPECT_EQ(board.receive(1, 0, 5, group, recv_of(2), nullptr), second);
}

TEST(MatchBoardTest, AReceiveFromAnyTakesTheFirstMessage) {
  MatchBoard board(3);
  const auto group = board.join_group("world", {0, 1, 2});
  const auto from_two = board.send(2, 0, 0, group, send_of(1), nullptr);
  const auto from_one = board.send(1, 0, 0, group, send_of(1), nullptr);
  EXPECT_EQ(board.receive(0, Meeting::kAnyRank, 0, group, recv_of(1), nullptr), from_two);
  EXPECT_EQ(board.receive(0, 1, 0, group, recv_of(1), nullptr), from_one);
}

TEST(MatchBoardTest, AMessageGoesToTheFirstReceiveThatFits) {
  MatchBoard board(3);
  const auto group = board.join_group("world", {0, 1, 2});
  const auto wants_two = board.receive(0, 2, 0, group, recv_of(1), nullptr);
  const auto wants_any = board.receive(0, Meeting::kAnyRank, 0, group, recv_of(1), nullptr);
  EXPECT_EQ(board.send(1, 0, 0, group, send_of(1), nullptr), wants_any);
  EXPECT_EQ(wants_any->participants.front(), 1);
  EXPECT_EQ(board.send(2, 0, 0, group, send_of(1), nullptr), wants_two);
}

TEST(MatchBoardTest, IsStuckWhenNobodyRunsAndSomebodyWaits) {
  MatchBoard board(2);
  const auto group = board.join_group("world", {0, 1});
  const auto meeting = board.arrive(0, group, barrier(), nullptr);
  board.set_waiting(0, meeting);
  EXPECT_FALSE(board.is_stuck());
  board.set_returned(1);
  EXPECT_TRUE(board.is_stuck());
  board.set_failed(0, "reason");
  EXPECT_FALSE(board.is_stuck());
  EXPECT_EQ(board.activity(0).failure, "reason");
  EXPECT_EQ(board.activity(0).waits_for, nullptr);
}

TEST(MatchBoardTest, GroupsWhoseLaunchesHaveMetCanBeCountedElsewhere) {
  MatchBoard board(2);
  const MeetingGroup like{"world", {0, 1}};
  const auto group = board.join_group("world", {0, 1});
  EXPECT_EQ(board.known(like), group);
  EXPECT_EQ(board.level(like), 0);
  board.arrive(0, group, barrier(), nullptr);
  EXPECT_EQ(board.level(like), std::nullopt);
  board.arrive(1, group, barrier(), nullptr);
  EXPECT_EQ(board.level(like), 1);
  board.set_level(like, 7);
  const auto next = board.arrive(1, group, barrier(), nullptr);
  EXPECT_EQ(next->sequence, 7);
  EXPECT_EQ(board.arrive(0, group, barrier(), nullptr), next);
  EXPECT_EQ(board.level(like), 8);
}

TEST(MatchBoardTest, WaitsThatOthersCountMakeItStuckToo) {
  MatchBoard board(2);
  const auto group = board.join_group("world", {0, 1});
  board.count_waiting(1);
  EXPECT_FALSE(board.is_stuck());
  board.set_waiting(1, board.arrive(1, group, barrier(), nullptr));
  EXPECT_TRUE(board.is_stuck());
  board.count_waiting(-1);
  EXPECT_FALSE(board.is_stuck());
}

TEST(MatchBoardTest, OpenMeetingsAreInAnOrderOfTheirOwn) {
  const auto names = [](bool swapped) {
    MatchBoard board(2);
    const auto a = board.join_group("a", {0, 1});
    const auto b = board.join_group("b", {0, 1});
    board.arrive(0, swapped ? b : a, barrier(), nullptr);
    board.arrive(1, swapped ? a : b, barrier(), nullptr);
    std::vector<std::string> found;
    for (const auto& meeting : board.open_meetings()) {
      found.push_back(meeting->group->name.str());
    }
    return found;
  };
  EXPECT_EQ(names(false), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(names(true), names(false));
}

TEST(MatchBoardTest, RefusesWhatARealGroupWouldRefuse) {
  MatchBoard board(3);
  const auto group = board.join_group("low", {0, 1});
  EXPECT_EQ(message_of<UsageError>([&] { board.arrive(2, group, barrier(), nullptr); }),
            "rank 2 is not in group \"low\" (ranks 0-1). Only its members may name a group.");
  EXPECT_NE(message_of<UsageError>([&] {
              board.send(0, 2, 0, group, send_of(1), nullptr);
            }).find("rank 2 is not in group"),
            std::string::npos);
  EXPECT_NE(message_of<UsageError>([&] {
              board.join_group("far", {0, 3});
            }).find("has rank 3, but the world has ranks 0-2"),
            std::string::npos);
  EXPECT_NE(message_of<UsageError>([&] { board.join_group("twice", {0, 0}); }).find("twice"),
            std::string::npos);
  EXPECT_NE(message_of<CollectiveMismatchError>([&] {
              board.join_group("low", {0, 2});
            }).find("is made with ranks 0-1 by some and with ranks 0,2 by others"),
            std::string::npos);
  EXPECT_NE(message_of<CollectiveMismatchError>([&] {
              board.join_group("low", {1, 0});
            }).find("is made with ranks 0-1 by some and with ranks 1,0 by others"),
            std::string::npos);
  MatchBoard another(3);  // whoever comes first
  another.join_group("low", {0, 2});
  EXPECT_NE(message_of<CollectiveMismatchError>([&] {
              another.join_group("low", {0, 1});
            }).find("is made with ranks 0-1 by some and with ranks 0,2 by others"),
            std::string::npos);
  EXPECT_NE(message_of<UsageError>([] { const MatchBoard none(0); }).find("at least one rank"),
            std::string::npos);
}

TEST(MatchBoardTest, AllProgramsOfTwoRanksAndThreeLaunchesEnd) {
  constexpr std::int64_t kLaunches = 3;
  std::vector<std::vector<Step>> sequences = {{}};
  for (std::int64_t length = 0; length < kLaunches; ++length) {
    std::vector<std::vector<Step>> longer;
    for (const auto& sequence : sequences) {
      for (const Step& step : steps_of(0, 2)) {
        longer.push_back(sequence);
        longer.back().push_back(step);
      }
    }
    sequences = std::move(longer);
  }
  const auto mirrored = [](std::vector<Step> steps) {
    for (Step& step : steps) {
      step.group_or_peer = step.kind == StepKind::kCollective ? step.group_or_peer : 0;
    }
    return steps;
  };
  for (const auto& first : sequences) {
    for (const auto& second : sequences) {
      check_all_interleavings({first, mirrored(second)});
    }
  }
}

TEST(MatchBoardTest, DrawnProgramsOfThreeRanksAndFourLaunchesEndAlike) {
  std::mt19937 random(11);  // NOLINT(bugprone-random-generator-seed): the same in every run
  for (int draw = 0; draw < 20; ++draw) {
    Program program(3);
    for (std::int64_t rank = 0; rank < 3; ++rank) {
      const auto steps = steps_of(rank, 3);
      for (int launch = 0; launch < 4; ++launch) {
        program[static_cast<std::size_t>(rank)].push_back(steps[random() % steps.size()]);
      }
    }
    check_all_interleavings(program);
  }
}

TEST(MatchBoardTest, CorrectProgramsOfThreeRanksEndInEveryOrder) {
  // A pipeline: 0 sends to 1, 1 to 2, then all meet; and a ring in which one rank receives first.
  const Step all{StepKind::kCollective, 0};
  check_all_interleavings(
      {{{StepKind::kSend, 1}, all, {StepKind::kSend, 1}, all},
       {{StepKind::kReceive, 0}, {StepKind::kSend, 2}, all, {StepKind::kReceive, 0}, all},
       {{StepKind::kReceive, 1}, all, all}});
  const Position all_passed = {4, 5, 3};
  EXPECT_EQ(
      reference({{{StepKind::kSend, 1}, all, {StepKind::kSend, 1}, all},
                 {{StepKind::kReceive, 0}, {StepKind::kSend, 2}, all, {StepKind::kReceive, 0}, all},
                 {{StepKind::kReceive, 1}, all, all}}),
      all_passed);
}

TEST(MatchBoardTest, ThreadsThatRanksStartAreNumberedAfterTheRanks) {
  MatchBoard board(2);
  const std::int64_t first = board.add_thread(1);
  const std::int64_t second = board.add_thread(1);
  EXPECT_EQ(first, 2);
  EXPECT_EQ(board.rank_of(first), 1);
  EXPECT_EQ(board.threads_of(1), (std::vector<std::int64_t>{first, second}));
  EXPECT_TRUE(board.threads_of(0).empty());
  board.remove_thread(first);
  EXPECT_EQ(board.threads_of(1), std::vector<std::int64_t>{second});
  EXPECT_EQ(board.add_thread(0), first);  // the number is free
  EXPECT_EQ(board.end_of_threads(), 4);
}

TEST(MatchBoardTest, IsStuckWhenAllThreadsWaitForWhatOnlyRanksDo) {
  MatchBoard board(1);
  const auto world = board.join_group("world", {0});
  const auto meeting = board.receive(0, Meeting::kAnyRank, 0, world, recv_of(1), nullptr);
  const std::int64_t thread = board.add_thread(0);
  board.set_waiting(0, meeting);
  EXPECT_FALSE(board.is_stuck());
  board.set_waiting(thread, meeting, OtherEnd::kOutside);
  EXPECT_FALSE(board.is_stuck());
  board.set_waiting(thread, meeting);
  EXPECT_TRUE(board.is_stuck());
  board.remove_thread(thread);
  EXPECT_TRUE(board.is_stuck());
  board.set_running(0);
  EXPECT_FALSE(board.is_stuck());
}

}  // namespace
}  // namespace polyrank
