// The kinds of collectives, and what is true of each whatever operator launches it.
#pragma once

#include <polyrank/core/export.h>

#include <cstdint>
#include <string_view>

namespace polyrank {

enum class CollectiveKind : std::uint8_t {
  kNotACollective,  // lives in a collective namespace, but each rank runs it alone
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kBroadcast,
  kAllToAll,
  kBarrier,
  kMonitoredBarrier,  // which meets no plain barrier: gloo passes messages of other tags in it
  kReduce,
  kGather,
  kScatter,
  kSend,
  kReceive,
  kSendReceive,  // a batch of sends and receives
  kWait,         // not a launch: waits for an earlier one
};

// Name as torch.distributed spells it: "all_reduce", …
POLYRANK_API std::string_view to_string(CollectiveKind kind) noexcept;

// Whether it combines values with a reduce op.
POLYRANK_API bool is_reduction(CollectiveKind kind) noexcept;

// Whether one rank of the group has a role of its own, the root.
POLYRANK_API bool has_root(CollectiveKind kind) noexcept;

// Whether ranks meet without tensors.
POLYRANK_API bool is_barrier(CollectiveKind kind) noexcept;

// Whether the root alone gets something, and the others keep what they had.
POLYRANK_API bool gives_the_root_alone(CollectiveKind kind) noexcept;

// Whether all members of a group get the same: then they are one cohort afterwards.
POLYRANK_API bool gives_members_the_same(CollectiveKind kind) noexcept;

}  // namespace polyrank
