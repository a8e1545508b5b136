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
                         const NcclChoice& choice, const NcclTables& tables, const GpuSpeeds& gpu) {
  if (group.ranks <= 1 || choice.nanoseconds <= 0) {
    return {};
  }
  const double a_nanosecond =
      tables.memory_passes * bytes_received(kind, group, bytes) / choice.nanoseconds;
  constexpr double kNanoseconds = 1e9;
  const double reached = gpu.memory_bytes * gpu.memory_efficiency.front() / kNanoseconds;
  return {
      .multiprocessors = std::min(1.0, choice.channels / static_cast<double>(gpu.multiprocessors)),
      .memory = std::min(1.0, a_nanosecond / reached)};
}

}  // namespace polyrank
