// What a collective uses of a GPU while it runs.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/timeline/kernel_time.h>
#include <polyrank/timeline/link_bytes.h>
#include <polyrank/timeline/nccl_time.h>
#include <polyrank/timeline/shared_gpu.h>

namespace polyrank {

// A multiprocessor for each of its channels. In the memory each byte that comes over a link is
// written and read as often as the tables say. Of each link what of its time the bytes take that go
// over it (link_bytes.h).
// Ensures: (1) shares are 0 to 1; (2) a group of one uses nothing.
// Units: `bytes` as nccl_time() has them.
POLYRANK_API GpuUse communication_use(CollectiveKind kind, const NcclGroup& group, double bytes,
                                      const NcclChoice& choice, const ByLink& over_links,
                                      const NcclTables& tables, const NcclLinks& links,
                                      const GpuSpeeds& gpu);

}  // namespace polyrank
