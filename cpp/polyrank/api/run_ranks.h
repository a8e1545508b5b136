// Runs a C++ program once per rank, each in a thread of its own.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/world/threads/threads_backend.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace polyrank {

// What a rank's program is given.
class POLYRANK_API RankContext {
 public:
  explicit RankContext(std::shared_ptr<RankThread> thread);

  std::int64_t rank() const noexcept { return thread_->rank(); }
  std::int64_t world_size() const noexcept { return thread_->turns().world_size(); }

  // The group of all ranks.
  ThreadsBackend& world() noexcept { return *world_; }

  // The group of these global ranks, in this order. Each member makes it, under the same name.
  // Throws: as ThreadsBackend.
  c10::intrusive_ptr<ThreadsBackend> new_group(const std::string& name,
                                               const std::vector<std::int64_t>& members);

 private:
  std::shared_ptr<RankThread> thread_;
  c10::intrusive_ptr<ThreadsBackend> world_;
};

// Calls `program` once per rank and returns when all have.
// Throws: what the first rank to fail threw; UsageError if world_size < 1.
POLYRANK_API void run_ranks(std::int64_t world_size,
                            const std::function<void(RankContext&)>& program,
                            const TurnOptions& options = {});

}  // namespace polyrank
