#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/environment_store.h>
#include <polyrank/dist2/lockstep_group.h>
#include <polyrank/dist2/process_groups.h>
#include <polyrank/dist2/world_backends.h>

#include <utility>

namespace polyrank::dist2 {

namespace {

// What the program left open, from `found`.
Endpoint completed(const Endpoint& given, const Endpoint& found) {
  return {given.store ? given.store : found.store, given.rank ? given.rank : found.rank,
          given.world_size ? given.world_size : found.world_size};
}

bool is_complete(const Endpoint& endpoint) {
  return endpoint.store && endpoint.rank && endpoint.world_size;
}

Endpoint endpoint_of(const std::string& backend, const Endpoint& given,
                     std::chrono::milliseconds timeout) {
  if (is_complete(given)) {
    return given;
  }
  if (const auto world = endpoint_of_world()) {
    return completed(given, *world);
  }
  Endpoint endpoint = completed(given, rank_of_environment(given));
  if (!endpoint.store) {
    endpoint.store = backend == "fake"
                         ? fake_store()
                         : environment_store(*endpoint.rank, *endpoint.world_size, timeout);
  }
  return endpoint;
}

}  // namespace

GroupRequest request_for(const std::string& backend, std::chrono::milliseconds timeout,
                         c10::Device device, BackendOptions options, const Endpoint& endpoint) {
  if (timeout <= std::chrono::milliseconds::zero()) {
    throw UsageError(str_cat("a time-out of ", timeout.count(), " ms; it must be positive"));
  }
  const Endpoint found = endpoint_of(backend, endpoint, timeout);
  if (*found.rank < 0 || *found.rank >= *found.world_size) {
    throw UsageError(str_cat("a process group of ", *found.world_size, " ranks has no rank ",
                             *found.rank, "; valid: 0..", *found.world_size - 1));
  }
  found.store->setTimeout(timeout);
  return {.store = found.store,
          .rank = *found.rank,
          .world_size = *found.world_size,
          .timeout = timeout,
          .device = device,
          .options = std::move(options)};
}

ProcessGroup new_group(const std::string& backend, std::chrono::milliseconds timeout,
                       c10::Device device, const BackendOptions& options,
                       const Endpoint& endpoint) {
  const ProcessGroupFactory make = find_backend(backend);
  return make(request_for(backend, timeout, device, options, endpoint));
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
