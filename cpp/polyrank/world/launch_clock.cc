#include <polyrank/world/launch_clock.h>

#include <atomic>

namespace polyrank {

namespace {

std::atomic<const LaunchClock*> current{nullptr};

}  // namespace

void set_launch_clock(const LaunchClock& clock) {
  static const LaunchClock kept = clock;
  current.store(&kept, std::memory_order_release);
}

LaunchTicket tell_launch_clock(const CollectiveCall& call, const Group& group,
                               std::int64_t own_rank) {
  const LaunchClock* clock = current.load(std::memory_order_acquire);
  return clock == nullptr ? kNoTime : clock->launched(call, group, own_rank);
}

void tell_launch_clock_of_wait(LaunchTicket ticket) {
  const LaunchClock* clock = current.load(std::memory_order_acquire);
  if (clock != nullptr && ticket != kNoTime) {
    clock->waited(ticket);
  }
}

}  // namespace polyrank
