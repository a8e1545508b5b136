// Small worlds in every order of events, against a reference that does not match
// at all: it looks at what each rank does next, and lets go on who can.
#pragma once

#include <gtest/gtest.h>
#include <matching/launches.h>
#include <polyrank/matching/match_board.h>
#include <polyrank/matching/standstill.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

enum class StepKind : std::uint8_t { kCollective, kSend, kReceive };

// One blocking launch of a rank: a collective on a group, or a message.
struct Step {
  StepKind kind;
  std::int64_t group_or_peer;
};
using Program = std::vector<std::vector<Step>>;  // by rank
using Position = std::vector<std::size_t>;       // steps that each rank has passed

// Group 0 is the world; group i > 0 leaves rank i - 1 out.
inline std::vector<std::int64_t> members_of(std::int64_t group, std::int64_t world_size) {
  std::vector<std::int64_t> members;
  for (std::int64_t rank = 0; rank < world_size; ++rank) {
    if (group == 0 || rank != group - 1) {
      members.push_back(rank);
    }
  }
  return members;
}

// Where all ranks end up. A rank passes a collective when all members of its group stand before
// one of that group, a receive when a message is there, and a send always.
inline Position reference(const Program& program) {
  const auto world_size = static_cast<std::int64_t>(program.size());
  Position position(program.size(), 0);
  std::map<std::pair<std::int64_t, std::int64_t>, int> in_flight;  // sender, receiver
  const auto next = [&](std::int64_t rank) -> const Step* {
    const auto index = static_cast<std::size_t>(rank);
    return position[index] < program[index].size() ? &program[index][position[index]] : nullptr;
  };
  const auto pass = [&](std::int64_t rank) { ++position[static_cast<std::size_t>(rank)]; };
  bool moved = true;
  while (moved) {
    moved = false;
    for (std::int64_t rank = 0; rank < world_size; ++rank) {
      const Step* step = next(rank);
      if (step == nullptr) {
        continue;
      }
      if (step->kind == StepKind::kSend) {
        ++in_flight[{rank, step->group_or_peer}];
        pass(rank);
        moved = true;
      } else if (step->kind == StepKind::kReceive) {
        int& messages = in_flight[{step->group_or_peer, rank}];
        if (messages > 0) {
          --messages;
          pass(rank);
          moved = true;
        }
      } else {
        const std::int64_t group = step->group_or_peer;
        const auto members = members_of(group, world_size);
        const bool all_there = std::all_of(members.begin(), members.end(), [&](std::int64_t other) {
          const Step* theirs = next(other);
          return theirs != nullptr && theirs->kind == StepKind::kCollective &&
                 theirs->group_or_peer == group;
        });
        if (all_there) {
          std::for_each(members.begin(), members.end(), pass);
          moved = true;
        }
      }
    }
  }
  return position;
}

// Runs a program on a board, one event at a time.
class Run {
 public:
  explicit Run(const Program& program)
      : program_(program),
        world_size_(static_cast<std::int64_t>(program.size())),
        board_(world_size_),
        position_(program.size(), 0),
        waits_for_(program.size()) {
    for (std::int64_t group = 0; group <= world_size_; ++group) {
      groups_.push_back(
          board_.join_group("group " + std::to_string(group), members_of(group, world_size_)));
    }
  }

  std::vector<std::int64_t> ranks_that_can_go_on() const {
    std::vector<std::int64_t> ranks;
    for (std::int64_t rank = 0; rank < world_size_; ++rank) {
      if (board_.activity(rank).state == RankState::kRunning) {
        ranks.push_back(rank);
      }
    }
    return ranks;
  }

  // The rank's next launch, or its return.
  void advance(std::int64_t rank) {
    const auto index = static_cast<std::size_t>(rank);
    if (position_[index] == program_[index].size()) {
      board_.set_returned(rank);
      return;
    }
    const Step step = program_[index][position_[index]];
    const auto meeting = launch(rank, step);
    if (step.kind == StepKind::kSend) {
      ++position_[index];
    } else {
      waits_for_[index] = meeting;
      board_.set_waiting(rank, meeting);
    }
    if (meeting->is_complete()) {
      let_go_on(*meeting);
    }
  }

  const Position& position() const { return position_; }
  const MatchBoard& board() const { return board_; }

 private:
  std::shared_ptr<Meeting> launch(std::int64_t rank, const Step& step) {
    switch (step.kind) {
      case StepKind::kSend:
        return board_.send(rank, step.group_or_peer, 0, groups_.front(), send_of(1), nullptr);
      case StepKind::kReceive:
        return board_.receive(rank, step.group_or_peer, 0, groups_.front(), recv_of(1), nullptr);
      default:
        return board_.arrive(rank, groups_[static_cast<std::size_t>(step.group_or_peer)], barrier(),
                             nullptr);
    }
  }

  void let_go_on(const Meeting& meeting) {
    for (std::int64_t rank = 0; rank < world_size_; ++rank) {
      if (board_.activity(rank).waits_for.get() == &meeting) {
        board_.set_running(rank);
        ++position_[static_cast<std::size_t>(rank)];
      }
    }
  }

  const Program& program_;
  std::int64_t world_size_;
  MatchBoard board_;
  std::vector<std::shared_ptr<const MeetingGroup>> groups_;
  Position position_;
  std::vector<std::shared_ptr<const Meeting>> waits_for_;
};

inline std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& found) {
    return found.what();
  }
}

// What a run ends with: where each rank stands, and what stuck ranks are told.
struct Outcome {
  Position position;
  std::string text;
  bool operator==(const Outcome&) const = default;
};

// Calls `see` with the outcome of each order of events; gives their number. Each order is run from
// the start: `choices` counts through all of them like an odometer.
inline std::int64_t for_each_interleaving(const Program& program,
                                          const std::function<void(const Outcome&)>& see) {
  std::vector<std::size_t> choices;
  std::int64_t num_orders = 0;
  while (true) {
    Run run(program);
    std::vector<std::size_t> num_possible;
    for (std::size_t event = 0;; ++event) {
      const auto ranks = run.ranks_that_can_go_on();
      if (ranks.empty()) {
        break;
      }
      if (event == choices.size()) {
        choices.push_back(0);
      }
      num_possible.push_back(ranks.size());
      run.advance(ranks[choices[event]]);
    }
    see({run.position(),
         run.board().is_stuck() ? text_of(explain_standstill(run.board())) : std::string()});
    ++num_orders;
    while (!choices.empty() && choices.back() + 1 == num_possible[choices.size() - 1]) {
      choices.pop_back();
    }
    if (choices.empty()) {
      return num_orders;
    }
    ++choices.back();
  }
}

inline void check_all_interleavings(const Program& program) {
  const Position expected = reference(program);
  std::string text;
  bool is_first = true;
  for_each_interleaving(program, [&](const Outcome& outcome) {
    ASSERT_EQ(outcome.position, expected);
    bool all_passed = true;
    for (std::size_t rank = 0; rank < program.size(); ++rank) {
      all_passed = all_passed && expected[rank] == program[rank].size();
    }
    ASSERT_EQ(outcome.text.empty(), all_passed) << outcome.text;
    if (is_first) {
      text = outcome.text;
      is_first = false;
    }
    ASSERT_EQ(outcome.text, text);  // the report does not depend on the order of events
  });
}

inline std::vector<Step> steps_of(std::int64_t rank, std::int64_t world_size) {
  std::vector<Step> steps;
  for (std::int64_t group = 0; group <= world_size; ++group) {
    const auto members = members_of(group, world_size);
    if (members.size() > 1 && std::count(members.begin(), members.end(), rank) == 1) {
      steps.push_back({StepKind::kCollective, group});
    }
  }
  for (std::int64_t peer = 0; peer < world_size; ++peer) {
    if (peer != rank) {
      steps.push_back({StepKind::kSend, peer});
      steps.push_back({StepKind::kReceive, peer});
    }
  }
  return steps;
}

}  // namespace polyrank
