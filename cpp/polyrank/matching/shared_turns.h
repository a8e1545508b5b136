// Turns of ranks that are processes.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/board_memory.h>
#include <polyrank/matching/turn_queue.h>

#include <atomic>
#include <cstdint>
#include <optional>

namespace polyrank {

// NOTE [Turns of processes]
// Ranks that are processes run side by side, unless the run has an order: then one of them has the
// turn, and keeps it until its first thread waits for another rank. Who gets it next is worked out
// on the board, under its lock, at the moment that a rank waits or what it waits for has happened,
// so it does not depend on when the operating system lets a process run. A rank without the turn
// that comes to a launch, a store or the end of a wait waits for its turn first.
// A process can't be stopped where it blocks elsewhere (in a lock, a socket, a sleep). The launcher
// sees that it does, and lets the next one go; the rank comes back in line at whatever it does next
// here. When the run has failed there are no turns any more.

// Lies in the memory that ranks share.
//
// Thread rule: the caller has the board's lock, except for has_turn() and await().
class POLYRANK_API SharedTurns {
 public:
  // Rank 0 has the first turn, the others follow in order.
  SharedTurns(std::int64_t world_size, TurnOrder order, std::uint64_t seed);

  // Somebody's turn.
  struct Turn {
    std::int64_t rank = 0;
    std::uint64_t number = 0;  // of the turns so far
  };
  // The present one, if anybody waits for it to end.
  std::optional<Turn> turn() const noexcept;

  // The rank can go on: it gets the turn when it is next, at once if nobody has it.
  void add(std::int64_t rank);
  // The rank waits, or has ended: if it has the turn the next one gets it.
  void leave(std::int64_t rank);
  // The rank can go on, and lets the others go first.
  void yield(std::int64_t rank);
  // The same as leave() for whoever has that turn, if it has not ended meanwhile.
  void end_turn(std::uint64_t number);
  // Everybody may go, from now on.
  void stop() noexcept;

  // Also when there are no turns any more.
  bool has_turn(std::int64_t rank) const noexcept { return word(rank) != kWaits; }
  // Sleeps until then. `on_interrupt`: called when a signal came, unless null.
  // Throws: what it throws.
  void await(std::int64_t rank, void (*on_interrupt)()) const;

 private:
  static constexpr std::uint32_t kWaits = 0;
  static constexpr std::uint32_t kHasTurn = 1;
  static constexpr std::uint32_t kIsFree = 2;

  const std::atomic<std::uint32_t>& word(std::int64_t rank) const noexcept {
    return words_[static_cast<std::size_t>(rank)];
  }
  void pass();
  void set_word(std::int64_t rank, std::uint32_t value) noexcept;

  TurnQueue queue_;
  BoardList<std::atomic<std::uint32_t>> words_;  // by rank; processes sleep on them
  std::uint64_t number_ = 0;
  bool has_stopped_ = false;
};

}  // namespace polyrank
