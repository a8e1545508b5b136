#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/dist2/backend_registry.h>
#include <polyrank/dist2/gloo_backend.h>
#include <polyrank/dist2/world_backends.h>
#include <polyrank/world/rank_thread.h>

#include <array>
#include <mutex>
#include <utility>

namespace polyrank::dist2 {

namespace {

std::mutex nccl_mutex;

ProcessGroupFactory& nccl_factory() {
  static auto* const factory = new ProcessGroupFactory();
  return *factory;
}

ProcessGroup make_nccl_group(const GroupRequest& request) {
  if (const ProcessGroup group = group_of_world(request)) {
    return group;
  }
  ProcessGroupFactory make;
  {
    const std::lock_guard lock(nccl_mutex);
    make = nccl_factory();
  }
  if (!make) {
    throw UnsupportedOpError(
        "backend \"nccl\": the PyTorch of this process has no NCCL. Install a build of PyTorch for "
        "CUDA, or take \"gloo\".");
  }
  return make(request);
}

using Factories = std::map<std::string, ProcessGroupFactory>;

// What a rank that is a thread has registered: as a process of its own it has a registry of its
// own.
Factories& factories_of_rank() {
  thread_local Factories factories;
  return factories;
}

// Factories by name.
class Backends {
 public:
  void add(const std::string& name, ProcessGroupFactory factory) {
    const std::lock_guard lock(mutex_);
    Factories& factories = RankThread::current() == nullptr ? factories_ : factories_of_rank();
    if (factories_.contains(name) || !factories.emplace(name, std::move(factory)).second) {
      throw UsageError(str_cat("Backend ", name, " already registered"));
    }
  }

  ProcessGroupFactory find(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const std::array<const Factories*, 2> both = {&factories_of_rank(), &factories_};
    for (const Factories* const factories : both) {
      if (const auto found = factories->find(name); found != factories->end()) {
        return found->second;
      }
    }
    throw UsageError(str_cat("Backend ", name, " not registered; there are ", names()));
  }

 private:
  std::string names() const {
    std::string names;
    const std::array<const Factories*, 2> both = {&factories_, &factories_of_rank()};
    for (const Factories* const factories : both) {
      for (const auto& [name, factory] : *factories) {
        names += str_cat(names.empty() ? "" : ", ", name);
      }
    }
    return names;
  }

  mutable std::mutex mutex_;
  Factories factories_{{"fake", &make_fake_group},
                       {"gloo", &make_gloo_group},
                       {"lockstep", &make_lockstep_group},
                       {"nccl", &make_nccl_group},
                       {"threads", &make_threads_group}};
};

Backends& backends() {
  static auto* const backends = new Backends();  // what factories hold may be gone by then
  return *backends;
}

}  // namespace

void register_backend(const std::string& name, ProcessGroupFactory factory) {
  if (name.empty()) {
    throw UsageError("a backend was registered under an empty name");
  }
  backends().add(name, std::move(factory));
}

ProcessGroupFactory find_backend(const std::string& name) { return backends().find(name); }

ProcessGroup make_group(const std::string& backend, const ProcessGroupFactory& factory,
                        const GroupRequest& request) {
  ProcessGroup group = factory(request);
  if (!group) {
    throw UsageError(str_cat("backend \"", backend, "\": its factory gave no process group"));
  }
  return group;
}

void set_nccl_factory(ProcessGroupFactory factory) {
  const std::lock_guard lock(nccl_mutex);
  nccl_factory() = std::move(factory);
}

void check_options(const GroupRequest& request, std::string_view backend,
                   const std::set<std::string>& known) {
  for (const auto& [name, value] : request.options) {
    if (known.contains(name)) {
      continue;
    }
    std::string list;
    for (const std::string& option : known) {
      list += str_cat(list.empty() ? "; it has " : ", ", option);
    }
    throw UnknownOptionError(str_cat("Unknown option ", name, " of backend \"", backend, "\"",
                                     list.empty() ? "; it has none" : list));
  }
}

}  // namespace polyrank::dist2
