// A timeline as Perfetto and chrome://tracing read it.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/timeline/timeline.h>

#include <cstdint>
#include <span>
#include <string>

namespace polyrank {

struct TracedRank {
  std::int64_t rank;  // global
  const Timeline* timeline;
};

// One process a rank: a row of the CPU with its launches and waits, and a row for each stream.
// An arrow goes from each launch to its work where that starts later than it was launched.
// Text: JSON of Chrome's trace event format. Times are microseconds there.
POLYRANK_API std::string to_chrome_trace(std::span<const TracedRank> ranks);
POLYRANK_API std::string to_chrome_trace(const Timeline& timeline, std::int64_t rank);

}  // namespace polyrank
