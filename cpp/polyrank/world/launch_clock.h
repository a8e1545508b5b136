// Who gives launches of collectives a time, in a world of one rank.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/report/collective_launch.h>

#include <cstdint>

namespace polyrank {

// Names a launch to who gave it a time; kNoTime for those that have none.
using LaunchTicket = std::uint64_t;
inline constexpr LaunchTicket kNoTime = 0;

// NOTE [Times in the fake world]
// A rank of the fake world has nobody to wait for: its Works are complete when they are made. Who
// models the streams of its GPU (virtual_gpu/gpu_timeline.h) lies above this layer, and says here
// what to call at each launch, and when the program waits for one.
struct LaunchClock {
  LaunchTicket (*launched)(const CollectiveCall& call, const Group& group,
                           std::int64_t own_rank) = nullptr;  // global
  void (*waited)(LaunchTicket ticket) = nullptr;
};

// From now on. Set once, when the library that models them is switched on.
POLYRANK_API void set_launch_clock(const LaunchClock& clock);

// Give kNoTime, or do nothing, while no clock is set.
LaunchTicket tell_launch_clock(const CollectiveCall& call, const Group& group,
                               std::int64_t own_rank);
void tell_launch_clock_of_wait(LaunchTicket ticket);

}  // namespace polyrank
