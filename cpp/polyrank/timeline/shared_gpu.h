// How long kernels and communication take beside communication.
#pragma once

#include <polyrank/core/export.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace polyrank {

// NOTE [Kernels beside communication]
// A collective of NCCL is a kernel, too: each of its channels keeps a multiprocessor until it ends,
// and its bytes go through the GPU's memory. Other kernels have what it leaves. A kernel gets on at
// the pace of what it is shortest of: one that would use all multiprocessors runs at 108/132 of its
// pace beside a collective that keeps 24 of 132; one that would use all of the memory's bandwidth
// runs at half of its pace beside a collective that uses half of it; one that needs less than what
// is left is not slowed. Its time is the time in which these paces add up to its work.
// Kernels slow neither each other nor communication.
//
// NOTE [Communication beside communication]
// Two groups of one GPU have the same links: its way to the others of its node, and its network
// card. What was launched first keeps its pace; what comes later has what is left of the link that
// it is shortest of, which may be nothing until the first is over. So a link never carries more
// than it can, and when all is over is as if the link were shared evenly; what was launched first
// is over sooner than it would be then.

// The links of a GPU, each of one direction: to the others of its node, and its way to other nodes.
enum class GpuLink : std::uint8_t { kNodeOut, kNodeIn, kNetworkOut, kNetworkIn };
inline constexpr std::size_t kNumGpuLinks = 4;

// By GpuLink.
using ByLink = std::array<double, kNumGpuLinks>;

// What work uses of a GPU while it runs alone: shares of all multiprocessors, of the bandwidth of
// the memory that kernels reach, and of its links. 0 to 1.
struct GpuUse {
  double multiprocessors = 0;
  double memory = 0;
  ByLink links = {};
};

// How fast work gets on, of its own pace, where others use `taken` of the GPU.
// Ensures: (1) 1 where what is left is enough; (2) never less for less taken; (3) positive: what is
//          shared by the hardware leaves something to each.
POLYRANK_API double pace_beside(const GpuUse& wanted, const GpuUse& taken) noexcept;

// The same of communication, which only links hold up. Ensures: (1), (2) of pace_beside()
POLYRANK_API double pace_on_links(const GpuUse& wanted, const GpuUse& taken) noexcept;

// A GPU that communication holds a part of, at times.
// Units: nanoseconds.
class POLYRANK_API SharedGpu {
 public:
  // Requires: start <= end
  void hold(std::int64_t start, std::int64_t end, const GpuUse& use);

  // How long work takes that begins at `start` and takes `alone` by itself.
  // Ensures: (4) `alone` where nothing is held meanwhile; (5) never shorter than `alone`; (6) its
  //          pace, summed up over that time, is `alone`, up to a nanosecond.
  // Cost: O(log n), and the square of how many are held at `start` or later.
  std::int64_t duration(std::int64_t start, std::int64_t alone, const GpuUse& use) const;

  // Communication that begins at `start` and takes `alone` by itself holds what it uses. Gives how
  // long it takes.
  // Ensures: (4), (5), (6) of duration(), by pace_on_links(); (7) no link ever carries more than it
  //          can, if each of what is held wants no more.
  // Cost: that of duration().
  std::int64_t communicate(std::int64_t start, std::int64_t alone, const GpuUse& use);

 private:
  // From one moment to another, at one pace.
  struct Piece {
    std::int64_t start = 0;
    std::int64_t end = 0;
    double pace = 1;
  };
  using Pace = double (*)(const GpuUse& wanted, const GpuUse& taken) noexcept;
  std::vector<Piece> pieces(std::int64_t start, std::int64_t alone, const GpuUse& use,
                            Pace pace_of) const;

  struct Held {
    std::int64_t start = 0;
    GpuUse use = {};
  };

  std::multimap<std::int64_t, Held> held_;  // by end
};

}  // namespace polyrank
