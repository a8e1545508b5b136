// Which thread of a run has the turn, and who is next.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/board_memory.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>

namespace polyrank {

enum class TurnOrder : std::uint8_t {
  kFirstReady,  // who could go on first
  kRandom       // any of those who could, drawn from the seed
};

// Where one thread of a run goes at a time: see NOTE [One rank at a time]. It lies in board memory.
//
// Thread rule: none; the caller locks.
// Invariants: (1) who has the turn is one of those that were ready.
class POLYRANK_API TurnQueue {
 public:
  // Thread 0 has the first turn; those up to `num_threads` follow in order.
  TurnQueue(std::int64_t num_threads, TurnOrder order, std::uint64_t seed);

  // Nobody, while all wait for something.
  std::optional<std::int64_t> holder() const noexcept { return holder_; }
  bool is_anyone_ready() const noexcept { return !ready_.empty(); }
  bool is_ready(std::int64_t thread) const noexcept;

  // The thread can go on. Requires: it is not ready yet
  void add(std::int64_t thread) { ready_.push_back(thread); }
  // It can't any more.
  void remove(std::int64_t thread);
  // Takes the turn from whoever has it.
  // Returns: who has it now: one of those that were ready; nobody, if none was.
  std::optional<std::int64_t> pass();

 private:
  std::optional<std::int64_t> holder_ = 0;
  std::deque<std::int64_t, BoardAllocator<std::int64_t>> ready_;
  TurnOrder order_;
  std::mt19937_64 random_;
};

}  // namespace polyrank
