#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/environment_store.h>
#include <polyrank/dist2/lockstep_group.h>
#include <polyrank/dist2/process_groups.h>
#include <polyrank/dist2/world_backends.h>

#include <utility>

namespace polyrank::dist2 {

namespace {

// What the program left open, from the world that runs.
Endpoint completed(const Endpoint& given) {
  const bool is_complete = given.store && given.rank && given.world_size;
  const Endpoint world = is_complete ? Endpoint() : endpoint_of_world();
  return {.store = given.store ? given.store : world.store,
          .rank = given.rank ? given.rank : world.rank,
          .world_size = given.world_size ? given.world_size : world.world_size};
}

}  // namespace

GroupRequest request_for(const std::string& backend, std::chrono::milliseconds timeout,
                         c10::Device device, BackendOptions options, const Endpoint& endpoint) {
  if (timeout <= std::chrono::milliseconds::zero()) {
    throw UsageError(str_cat("a time-out of ", timeout.count(), " ms; it must be positive"));
  }
  const Endpoint found = completed(endpoint);
  const int rank = found.rank ? *found.rank : rank_of_environment();
  const int world_size = found.world_size ? *found.world_size : world_size_of_environment();
  if (rank < 0 || rank >= world_size) {
    throw UsageError(str_cat("a process group of ", world_size, " ranks has no rank ", rank,
                             "; valid: 0..", world_size - 1));
  }
  Store store = found.store;
  if (!store) {
    store = backend == "fake" ? fake_store() : environment_store(rank, world_size, timeout);
  }
  store->setTimeout(timeout);
  return {.store = std::move(store),
          .rank = rank,
          .world_size = world_size,
          .timeout = timeout,
          .device = device,
          .options = std::move(options)};
}

ProcessGroup new_group(const std::string& backend, std::chrono::milliseconds timeout,
                       c10::Device device, const BackendOptions& options,
                       const Endpoint& endpoint) {
  const ProcessGroupFactory factory = find_backend(backend);
  return make_group(backend, factory, request_for(backend, timeout, device, options, endpoint));
}

c10::SymInt rank_of(const ProcessGroup& group) {
  const auto* const lockstep = dynamic_cast<const LockstepGroup*>(group.get());
  return lockstep == nullptr ? c10::SymInt(group->getRank()) : lockstep->rank_of_each();
}

ProcessGroup current_process_group() { return c10d::currentProcessGroup(); }

ProcessGroupGuard::ProcessGroupGuard(ProcessGroup group) : before_(current_process_group()) {
  c10d::setProcessGroup(std::move(group));
}

ProcessGroupGuard::~ProcessGroupGuard() { c10d::setProcessGroup(std::move(before_)); }

}  // namespace polyrank::dist2
