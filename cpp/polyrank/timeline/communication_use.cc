#include <polyrank/collective/cost_model.h>
#include <polyrank/timeline/communication_use.h>

#include <algorithm>
#include <cmath>

namespace polyrank {

namespace {

// As many as a rank sends, but at a root.
double bytes_received(CollectiveKind kind, const NcclGroup& group, double bytes) {
  const auto algorithm = usual_algorithm(kind);
  if (!algorithm) {
    return 0;
  }
  const auto cost = collective_cost(kind, *algorithm, group.ranks, std::llround(bytes));
  return cost ? static_cast<double>(cost->wire_bytes) : 0;
}

}  // namespace

GpuUse communication_use(CollectiveKind kind, const NcclGroup& group, double bytes,
                         const NcclChoice& choice, const ByLink& over_links,
                         const NcclTables& tables, const NcclLinks& links, const GpuSpeeds& gpu) {
  if (group.ranks <= 1 || choice.nanoseconds <= 0) {
    return {};
  }
  const double a_nanosecond =
      tables.memory_passes * bytes_received(kind, group, bytes) / choice.nanoseconds;
  constexpr double kNanoseconds = 1e9;
  const double reached = gpu.memory_bytes * gpu.memory_efficiency.front() / kNanoseconds;
  GpuUse use{
      .multiprocessors = std::min(1.0, choice.channels / static_cast<double>(gpu.multiprocessors)),
      .memory = std::min(1.0, a_nanosecond / reached)};
  const ByLink speeds = link_speeds(links);
  for (std::size_t link = 0; link < kNumGpuLinks; ++link) {
    // Bytes by GB/s are nanoseconds.
    const double busy = over_links[link] > 0 ? over_links[link] / speeds[link] : 0;
    use.links[link] = std::min(1.0, busy / choice.nanoseconds);
  }
  return use;
}

}  // namespace polyrank
