// Process groups as values: dist2 of torch.distributed, in C++.
#pragma once

#include <c10/core/SymInt.h>
#include <polyrank/core/export.h>
#include <polyrank/dist2/backend_registry.h>

#include <chrono>
#include <optional>
#include <string>

namespace polyrank::dist2 {

// Where the members of a group meet, and who this one is. What is left open comes from the world
// that runs (see NOTE [The backend of a world]), else from the variables that torchrun sets: RANK,
// WORLD_SIZE, MASTER_ADDR, MASTER_PORT.
struct Endpoint {
  Store store = {};
  std::optional<int> rank = {};
  std::optional<int> world_size = {};
};

// Makes a group of all ranks, by a backend that is registered. See NOTE [Process groups as values].
// All members make their groups in the same order.
// Throws: UsageError if there is no such backend, or nobody says who this rank is;
//         UnknownOptionError; CollectiveError if a member did not come in time, naming it.
POLYRANK_API ProcessGroup new_group(const std::string& backend, std::chrono::milliseconds timeout,
                                    c10::Device device, const BackendOptions& options = {},
                                    const Endpoint& endpoint = {});

// What new_group() hands to the factory.
POLYRANK_API GroupRequest request_for(const std::string& backend, std::chrono::milliseconds timeout,
                                      c10::Device device, BackendOptions options,
                                      const Endpoint& endpoint);

// This rank's place in the group; in lockstep an int that differs between ranks.
POLYRANK_API c10::SymInt rank_of(const ProcessGroup& group);

// The group that the calling thread works with; null if it named none. PyTorch's own.
POLYRANK_API ProcessGroup current_process_group();

// Makes `group` the current one of the thread; the one before is back when the guard goes.
class POLYRANK_API ProcessGroupGuard {
 public:
  explicit ProcessGroupGuard(ProcessGroup group);
  ~ProcessGroupGuard();
  ProcessGroupGuard(const ProcessGroupGuard&) = delete;
  ProcessGroupGuard& operator=(const ProcessGroupGuard&) = delete;

 private:
  ProcessGroup before_;
};

}  // namespace polyrank::dist2
