// What communication sends over the links of a GPU, and how long messages take by that.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/core/export.h>
#include <polyrank/timeline/nccl_time.h>
#include <polyrank/timeline/shared_gpu.h>

namespace polyrank {

// Sends, receives, and what NCCL and PyTorch make of them: it has no algorithm of its own.
POLYRANK_API bool is_made_of_messages(CollectiveKind kind) noexcept;

// What a rank sends and receives in an all-to-all, a gather or a scatter of which each rank has the
// same.
POLYRANK_API ByLink even_messages(const NcclGroup& group, double payload);

// One message more.
POLYRANK_API void add_message(ByLink* bytes, bool is_sent, bool crosses_nodes, double size);

// Messages that are launched at once: a step's latency, and as long as the busiest link takes.
// NVLink and the network carry both directions at once. All GPUs of a node are supposed to use the
// network at once.
// Ensures: (1) never shorter for more bytes on any link.
POLYRANK_API NcclChoice message_time(const ByLink& bytes, const NcclGroup& group,
                                     const NcclTables& tables, const NcclLinks& links);

// What a collective that is not made of messages sends over a GPU's links. Flags of LL and LL128
// are sent, too.
POLYRANK_API ByLink collective_bytes(CollectiveKind kind, const NcclGroup& group, double payload,
                                     const NcclChoice& choice);

// How long each link of a GPU by itself takes for that. Units: nanoseconds.
POLYRANK_API ByLink link_times(const ByLink& bytes, const NcclLinks& links);

}  // namespace polyrank
