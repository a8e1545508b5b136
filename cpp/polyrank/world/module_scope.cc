#include <ATen/SequenceNumber.h>
#include <ATen/record_function.h>
#include <polyrank/core/interned.h>
#include <polyrank/world/module_scope.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/node.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace polyrank {

namespace {

// From this number on the thread's nodes are made by that module.
struct Change {
  std::uint64_t sequence_nr;
  std::string_view path;
};

// What one thread made; other threads run its nodes in backward.
class NodesOfThread {
 public:
  void note(std::uint64_t sequence_nr, std::string_view path) {
    const std::lock_guard lock(mutex_);
    if (!changes_.empty() && changes_.back().sequence_nr == sequence_nr) {
      changes_.back().path = path;  // nothing was made in between
    } else {
      changes_.push_back({sequence_nr, path});
    }
  }

  std::string_view maker_of(std::uint64_t sequence_nr) const {
    const std::lock_guard lock(mutex_);
    const auto after = std::upper_bound(
        changes_.begin(), changes_.end(), sequence_nr,
        [](std::uint64_t wanted, const Change& c) { return wanted < c.sequence_nr; });
    return after == changes_.begin() ? std::string_view() : std::prev(after)->path;
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    changes_.clear();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Change> changes_;
};

// By the thread numbers that autograd's nodes carry.
class AllNodes {
 public:
  std::shared_ptr<NodesOfThread> of_thread(std::uint64_t thread) {
    const std::lock_guard lock(mutex_);
    auto& nodes = threads_[thread];
    if (nodes == nullptr) {
      nodes = std::make_shared<NodesOfThread>();
    }
    return nodes;
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    for (const auto& [thread, nodes] : threads_) {
      nodes->clear();
    }
  }

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<NodesOfThread>> threads_;
};

AllNodes& all_nodes() {
  static auto* const nodes = new AllNodes();  // threads may end after static objects
  return *nodes;
}

struct RunningModules {
  std::vector<std::string_view> paths;
  std::shared_ptr<NodesOfThread> nodes =
      all_nodes().of_thread(at::RecordFunction::currentThreadId());

  void note() {
    nodes->note(at::sequence_number::peek(), paths.empty() ? std::string_view() : paths.back());
  }
};

RunningModules& running_modules() {
  thread_local RunningModules modules;
  return modules;
}

[[maybe_unused]] const bool is_finder =
    (call_site_finders().module_place = &module_place) != nullptr;

}  // namespace

ModuleScope::ModuleScope(std::string_view path) { enter_module(path); }

ModuleScope::~ModuleScope() { leave_module(); }

void enter_module(std::string_view path) {
  RunningModules& modules = running_modules();
  modules.paths.push_back(interned(path));
  modules.note();
}

void leave_module() {
  RunningModules& modules = running_modules();
  if (!modules.paths.empty()) {  // a trace may have started inside the module
    modules.paths.pop_back();
    modules.note();
  }
}

ModulePlace module_place() {
  const bool is_backward = torch::autograd::get_current_graph_task_id() != -1;
  const RunningModules& modules = running_modules();
  if (!modules.paths.empty() || !is_backward) {
    return {modules.paths.empty() ? std::string_view() : modules.paths.back(), is_backward};
  }
  const auto node = torch::autograd::get_current_node();
  if (node == nullptr) {
    return {{}, is_backward};
  }
  return {all_nodes().of_thread(node->thread_id())->maker_of(node->sequence_nr()), is_backward};
}

void forget_module_nodes() { all_nodes().clear(); }

}  // namespace polyrank
