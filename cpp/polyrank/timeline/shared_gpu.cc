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

void add(const GpuUse& use, GpuUse* sum) {
  sum->multiprocessors += use.multiprocessors;
  sum->memory += use.memory;
  for (std::size_t link = 0; link < kNumGpuLinks; ++link) {
    sum->links[link] += use.links[link];
  }
}

// What is left of a link is of its whole bandwidth; less than this is rounding.
constexpr double kNothing = 1e-9;

}  // namespace

double pace_beside(const GpuUse& wanted, const GpuUse& taken) noexcept {
  return std::min(pace_of(wanted.multiprocessors, taken.multiprocessors),
                  pace_of(wanted.memory, taken.memory));
}

double pace_on_links(const GpuUse& wanted, const GpuUse& taken) noexcept {
  double pace = 1;
  for (std::size_t link = 0; link < kNumGpuLinks; ++link) {
    const double left = std::max(1 - taken.links[link], 0.0);
    if (wanted.links[link] > left) {
      pace = std::min(pace, left < kNothing ? 0 : left / wanted.links[link]);
    }
  }
  return pace;
}

void SharedGpu::hold(std::int64_t start, std::int64_t end, const GpuUse& use) {
  const bool is_some = use.multiprocessors > 0 || use.memory > 0 ||
                       std::ranges::any_of(use.links, [](double share) { return share > 0; });
  if (start < end && is_some) {
    held_.emplace(end, Held{.start = start, .use = use});
  }
}

std::vector<SharedGpu::Piece> SharedGpu::pieces(std::int64_t start, std::int64_t alone,
                                                const GpuUse& use, Pace pace_of) const {
  const auto first = held_.upper_bound(start);
  std::vector<Piece> pieces;
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
        add(held.use, &taken);
      }
    }
    const double pace = pace_of(use, taken);
    const double done = pace * static_cast<double>(until - now);
    const bool is_last = done >= left;
    const std::int64_t end = is_last ? now + std::llround(left / pace) : until;
    pieces.push_back({.start = now, .end = end, .pace = pace});
    left = is_last ? 0 : left - done;
    now = end;
  }
  return pieces;
}

std::int64_t SharedGpu::duration(std::int64_t start, std::int64_t alone, const GpuUse& use) const {
  const std::vector<Piece> all = pieces(start, alone, use, &pace_beside);
  return all.empty() ? 0 : all.back().end - start;
}

std::int64_t SharedGpu::communicate(std::int64_t start, std::int64_t alone, const GpuUse& use) {
  const std::vector<Piece> all = pieces(start, alone, use, &pace_on_links);
  for (const Piece& piece : all) {
    // Its channels keep their multiprocessors, however slowly it gets on.
    GpuUse held = use;
    held.memory *= piece.pace;
    std::ranges::for_each(held.links, [&](double& share) { share *= piece.pace; });
    hold(piece.start, piece.end, held);
  }
  return all.empty() ? 0 : all.back().end - start;
}

}  // namespace polyrank
