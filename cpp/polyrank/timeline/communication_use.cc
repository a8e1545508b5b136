#include <polyrank/collective/cost_model.h>
#include <polyrank/timeline/communication_use.h>

#include <algorithm>
#include <cmath>

namespace polyrank {

GpuUse communication_use(CollectiveKind kind, const NcclGroup& group, double bytes,
                         const NcclChoice& choice, const ByLink& over_links,
                         const NcclTables& tables, const NcclLinks& links, const GpuSpeeds& gpu) {
  if (group.ranks <= 1 || choice.nanoseconds <= 0) {
    return {};
  }
  // It receives as many as it sends, except at a root.
  const auto received =
      static_cast<double>(usual_wire_bytes(kind, group.ranks, std::llround(bytes)));
  const double a_nanosecond = tables.memory_passes * received / choice.nanoseconds;
  constexpr double kNanoseconds = 1e9;
  const double reached = gpu.memory_bytes * gpu.memory_efficiency.front() / kNanoseconds;
  GpuUse use{
      .multiprocessors = std::min(1.0, choice.channels / static_cast<double>(gpu.multiprocessors)),
      .memory = std::min(1.0, a_nanosecond / reached)};
  use.links = link_times(over_links, links);
  for (double& share : use.links) {
    share = std::min(1.0, share / choice.nanoseconds);
  }
  return use;
}

}  // namespace polyrank
