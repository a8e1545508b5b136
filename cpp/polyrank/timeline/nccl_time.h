// Which algorithm and protocol NCCL chooses for a collective, and how long that takes.
#pragma once

#include <polyrank/collective/collective_kind.h>
#include <polyrank/core/export.h>
#include <polyrank/timeline/nccl_tables.h>

#include <string_view>

namespace polyrank {

struct NcclChoice {
  NcclAlgorithm algorithm = NcclAlgorithm::kRing;
  NcclProtocol protocol = NcclProtocol::kSimple;
  double nanoseconds = 0;
  double channels = 0;  // each keeps a multiprocessor
};

// NOTE [The time of a collective]
// NCCL works out, for each algorithm and protocol, a latency and a bandwidth from its tables, takes
// those that promise the shortest time, and runs them. What it works out is taken for what it
// takes: the tables were fitted to measurements by NCCL's authors. Source of rules and tables:
// NCCL 2.30.7, src/graph/tuning.cc, src/graph/search.cc. Left out: CollNet and SHARP, PAT (groups
// with one GPU a node), what environment variables forbid, and aggregation.
// NCCL counts on network cards that nobody else uses. Other groups of the same nodes do the same at
// the same time, as in a mesh: where there are fewer cards than GPUs, each group gets its share of
// what the cards of a node bring. So time is of that share, and the choice is not.
// Messages, gathers, scatters and all-to-alls are in link_bytes.h.

// The time of a collective whose payload is so many bytes (NOTE [Payload] in cost_model.h).
// Ensures: (1) a group of one takes none; (2) with one algorithm and protocol never shorter for
//          twice the bytes; (3) no algorithm and protocol is faster, as nccl_time_of() has them;
//          (4) never faster than what was chosen, as nccl_time_of() has it.
// Requires: is_made_of_messages() is false of `kind` (link_bytes.h)
POLYRANK_API NcclChoice nccl_time(CollectiveKind kind, const NcclGroup& group, double bytes,
                                  const NcclTables& tables, const NcclLinks& links);

// What NCCL compares. Units: nanoseconds; negative where they can't be used.
// Requires: as above; more than one rank
POLYRANK_API double nccl_time_of(CollectiveKind kind, const NcclGroup& group, double bytes,
                                 const NcclTables& tables, const NcclLinks& links,
                                 NcclAlgorithm algorithm, NcclProtocol protocol);

// "ring, LL128".
POLYRANK_API std::string_view to_string(NcclAlgorithm algorithm, NcclProtocol protocol) noexcept;

}  // namespace polyrank
