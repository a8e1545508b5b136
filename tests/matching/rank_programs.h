// Programs of ranks that are threads.
#pragma once

#include <matching/launches.h>
#include <polyrank/matching/rank_turns.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace polyrank {

using Group = std::shared_ptr<const MeetingGroup>;

// One rank's view, with short verbs.
class Member {
 public:
  Member(RankTurns& turns, std::int64_t rank) : turns_(turns), rank_(rank) {}

  std::int64_t rank() const { return rank_; }
  RankTurns& turns() const { return turns_; }

  Group world() const {
    std::vector<std::int64_t> all(static_cast<std::size_t>(turns_.world_size()));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    return turns_.join_group("world", all);
  }

  // Adds up what all members give.
  int sum(const Group& group, int value) const {
    const auto own = std::make_shared<int>(value);
    const Arrival arrival = turns_.arrive(rank_, group, all_reduce({1}), own);
    if (arrival.is_last) {
      int total = 0;
      for (const auto& payload : arrival.meeting->payloads) {
        total += *std::static_pointer_cast<int>(payload);
      }
      for (const auto& payload : arrival.meeting->payloads) {
        *std::static_pointer_cast<int>(payload) = total;
      }
      turns_.finish(arrival.meeting);
    }
    turns_.wait(rank_, arrival.meeting);
    return *own;
  }

  void send(std::int64_t peer, int value) const {
    const Arrival arrival =
        turns_.send(rank_, peer, 0, world(), send_of(1), std::make_shared<int>(value));
    deliver(arrival);
  }

  int receive(std::int64_t peer) const {
    const auto buffer = std::make_shared<int>(-1);
    const Arrival arrival = turns_.receive(rank_, peer, 0, world(), recv_of(1), buffer);
    deliver(arrival);
    turns_.wait(rank_, arrival.meeting);
    return *buffer;
  }

 private:
  void deliver(const Arrival& arrival) const {
    if (arrival.is_last) {
      const auto& payloads = arrival.meeting->payloads;
      *std::static_pointer_cast<int>(payloads[1]) = *std::static_pointer_cast<int>(payloads[0]);
      turns_.finish(arrival.meeting);
    }
  }

  RankTurns& turns_;
  std::int64_t rank_;
};

using Program = std::function<void(const Member&)>;

// Runs the program on each rank's thread; gives what each rank threw, "" where it returned.
inline std::vector<std::string> run(RankTurns& turns, const Program& program) {
  std::vector<std::string> errors(static_cast<std::size_t>(turns.world_size()));
  std::vector<std::thread> threads;
  threads.reserve(errors.size());
  for (std::int64_t rank = 0; rank < turns.world_size(); ++rank) {
    threads.emplace_back([&turns, &program, &errors, rank] {
      try {
        turns.begin(rank);
        program(Member(turns, rank));
        turns.end(rank);
      } catch (const std::exception& error) {
        errors[static_cast<std::size_t>(rank)] = error.what();
        turns.end_failed(rank, error.what());
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  return errors;
}

}  // namespace polyrank
