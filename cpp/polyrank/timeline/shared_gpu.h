// How long a kernel takes beside communication.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <map>

namespace polyrank {

// NOTE [Kernels beside communication]
// A collective of NCCL is a kernel, too: each of its channels keeps a multiprocessor until it ends,
// and its bytes go through the GPU's memory. Other kernels have what it leaves. A kernel gets on at
// the pace of what it is shortest of: one that would use all multiprocessors runs at 108/132 of its
// pace beside a collective that keeps 24 of 132; one that would use all of the memory's bandwidth
// runs at half of its pace beside a collective that uses half of it; one that needs less than what
// is left is not slowed. Its time is the time in which these paces add up to its work.
// Communication keeps its own pace. Kernels do not slow each other.

// What work uses of a GPU while it runs alone: shares of all multiprocessors, and of the bandwidth
// of the memory that kernels reach. 0 to 1.
struct GpuUse {
  double multiprocessors = 0;
  double memory = 0;
};

// How fast work gets on, of its own pace, where others use `taken` of the GPU.
// Ensures: (1) 1 where what is left is enough; (2) never less for less taken; (3) positive: what is
//          shared by the hardware leaves something to each.
POLYRANK_API double pace_beside(const GpuUse& wanted, const GpuUse& taken) noexcept;

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

 private:
  struct Held {
    std::int64_t start = 0;
    GpuUse use = {};
  };

  std::multimap<std::int64_t, Held> held_;  // by end
};

}  // namespace polyrank
