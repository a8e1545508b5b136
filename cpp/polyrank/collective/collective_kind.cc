#include <polyrank/collective/collective_kind.h>

namespace polyrank {

std::string_view to_string(CollectiveKind kind) noexcept {
  switch (kind) {
    case CollectiveKind::kNotACollective:
      return "not_a_collective";
    case CollectiveKind::kAllReduce:
      return "all_reduce";
    case CollectiveKind::kAllGather:
      return "all_gather";
    case CollectiveKind::kReduceScatter:
      return "reduce_scatter";
    case CollectiveKind::kBroadcast:
      return "broadcast";
    case CollectiveKind::kAllToAll:
      return "all_to_all";
    case CollectiveKind::kBarrier:
      return "barrier";
    case CollectiveKind::kMonitoredBarrier:
      return "monitored_barrier";
    case CollectiveKind::kReduce:
      return "reduce";
    case CollectiveKind::kGather:
      return "gather";
    case CollectiveKind::kScatter:
      return "scatter";
    case CollectiveKind::kSend:
      return "send";
    case CollectiveKind::kReceive:
      return "recv";
    case CollectiveKind::kSendReceive:
      return "send_recv";
    case CollectiveKind::kWait:
      return "wait";
  }
  return "unknown";
}

bool is_reduction(CollectiveKind kind) noexcept {
  return kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kReduceScatter ||
         kind == CollectiveKind::kReduce;
}

bool has_root(CollectiveKind kind) noexcept {
  return kind == CollectiveKind::kBroadcast || kind == CollectiveKind::kReduce ||
         kind == CollectiveKind::kGather || kind == CollectiveKind::kScatter;
}

bool is_barrier(CollectiveKind kind) noexcept {
  return kind == CollectiveKind::kBarrier || kind == CollectiveKind::kMonitoredBarrier;
}

bool gives_the_root_alone(CollectiveKind kind) noexcept {
  return kind == CollectiveKind::kReduce || kind == CollectiveKind::kGather;
}

bool gives_members_the_same(CollectiveKind kind) noexcept {
  return kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kAllGather ||
         kind == CollectiveKind::kBroadcast || is_barrier(kind);
}

}  // namespace polyrank
