// Why nothing was computed: what a GPU waited for.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/timeline/timeline.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace polyrank {

enum class IdleCause : std::uint8_t {
  kHost,           // the CPU had not launched what comes next
  kCommunication,  // a collective, or a message
  kCopy,           // a copy between the host and the GPU
  kLateness,       // another rank had not come to a collective, or a message
};

// "the CPU", "communication", "copies", "lateness".
POLYRANK_API std::string_view to_string(IdleCause cause) noexcept;

struct IdleTime {
  std::int64_t start;
  std::int64_t end;
  IdleCause cause;
  std::string_view group = {};  // of communication; of lateness: "rank 4"
};

// The times at which no stream computes, each with what was waited for: from where computing goes
// on, back along what each start was bound by (NOTE [The timeline]).
// Ensures: (1) ascending, none empty, none overlaps another; (2) together with the times of
//          computing they are all of [0, makespan).
// Cost: O(n log n).
POLYRANK_API std::vector<IdleTime> idle_times(const Timeline& timeline);

}  // namespace polyrank
