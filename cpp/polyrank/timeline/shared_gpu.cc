#include <polyrank/timeline/shared_gpu.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace polyrank {

namespace {

// That is left of anything, however much is taken.
constexpr double kLeastLeft = 0.1;

double pace_of(double wanted, double taken) {
  const double left = std::max(1 - taken, kLeastLeft);
  return wanted > left ? left / wanted : 1;
}

}  // namespace

double pace_beside(const GpuUse& wanted, const GpuUse& taken) noexcept {
  return std::min(pace_of(wanted.multiprocessors, taken.multiprocessors),
                  pace_of(wanted.memory, taken.memory));
}

void SharedGpu::hold(std::int64_t start, std::int64_t end, const GpuUse& use) {
  if (start < end && (use.multiprocessors > 0 || use.memory > 0)) {
    held_.emplace(end, Held{.start = start, .use = use});
  }
}

std::int64_t SharedGpu::duration(std::int64_t start, std::int64_t alone, const GpuUse& use) const {
  const auto first = held_.upper_bound(start);
  std::int64_t now = start;
  auto left = static_cast<double>(alone);
  while (left > 0) {
    GpuUse taken;
    std::int64_t until = std::numeric_limits<std::int64_t>::max();  // so long nothing changes
    for (auto one = first; one != held_.end(); ++one) {
      const auto& [end, held] = *one;
      if (held.start > now) {
        until = std::min(until, held.start);
      } else if (end > now) {
        until = std::min(until, end);
        taken.multiprocessors += held.use.multiprocessors;
        taken.memory += held.use.memory;
      }
    }
    const double pace = pace_beside(use, taken);
    const double done = pace * static_cast<double>(until - now);
    if (done >= left) {
      return now - start + std::llround(left / pace);
    }
    left -= done;
    now = until;
  }
  return now - start;
}

}  // namespace polyrank
