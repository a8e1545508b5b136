#include <ATen/Context.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/lockstep_mode.h>

#include <atomic>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

using c10::impl::TorchDispatchModeTLS;

bool device_less(const c10::Device& a, const c10::Device& b) {
  return std::pair(a.type(), a.index()) < std::pair(b.type(), b.index());
}

// Python mode objects and their lockstep modes. Few entries, looked up for each operator: the
// version number lets each thread keep its last answer.
struct PythonModes {
  std::mutex mutex;
  std::unordered_map<const void*, std::shared_ptr<LockstepMode>> modes;
  std::atomic<std::uint64_t> version{1};
};

PythonModes& python_modes() {
  static PythonModes modes;
  return modes;
}

LockstepMode* find_python_mode(const void* python_mode) {
  thread_local const void* last = nullptr;
  thread_local LockstepMode* last_mode = nullptr;
  thread_local std::uint64_t last_version = 0;
  PythonModes& table = python_modes();
  const std::uint64_t version = table.version.load(std::memory_order_acquire);
  if (last != python_mode || last_version != version) {
    const std::lock_guard<std::mutex> lock(table.mutex);
    const auto found = table.modes.find(python_mode);
    last_mode = found == table.modes.end() ? nullptr : found->second.get();
    last = python_mode;
    last_version = version;
  }
  return last_mode;
}

LockstepMode* python_mode_at(std::int64_t index) {
  const auto& entry = TorchDispatchModeTLS::get_stack_at(index);
  return find_python_mode(entry->ptr(&entry->pyinterpreter()));
}

// Modes that a program without Python pushed on this thread.
std::vector<std::shared_ptr<LockstepMode>>& guarded_modes() {
  thread_local std::vector<std::shared_ptr<LockstepMode>> modes;
  return modes;
}

thread_local bool below_lockstep = false;

}  // namespace

LockstepMode::LockstepMode(RankSet ranks) : ranks_(std::move(ranks)), generators_(&device_less) {
  if (ranks_.empty()) {
    throw UsageError(
        "a mode needs at least one rank; give a world size of 1 or more, or a set of ranks");
  }
}

RankGenerators& LockstepMode::generators(c10::Device device) {
  const auto found = generators_.find(device);
  if (found != generators_.end()) {
    return found->second;
  }
  const at::Generator& state = at::globalContext().defaultGenerator(device);
  return generators_.emplace(device, RankGenerators(ranks_, state)).first->second;
}

void LockstepMode::restart_generators() {
  generators_.clear();
  generators(c10::kCPU);
}

void LockstepMode::store_generators() {
  for (const auto& [device, generators] : generators_) {
    at::Generator target = at::globalContext().defaultGenerator(device);
    copy_generator_state(generators.generator(0), target);
  }
}

void register_python_mode(const void* python_mode, std::shared_ptr<LockstepMode> mode) {
  PythonModes& table = python_modes();
  const std::lock_guard<std::mutex> lock(table.mutex);
  table.modes[python_mode] = std::move(mode);
  table.version.fetch_add(1, std::memory_order_release);
}

void unregister_python_mode(const void* python_mode) {
  PythonModes& table = python_modes();
  const std::lock_guard<std::mutex> lock(table.mutex);
  table.modes.erase(python_mode);
  table.version.fetch_add(1, std::memory_order_release);
}

ModeStack current_modes() {
  ModeStack stack;
  const std::int64_t length = TorchDispatchModeTLS::stack_len();
  if (length > 0) {
    stack.any_python_mode = true;
    stack.lockstep = python_mode_at(length - 1);
    stack.foreign_on_top = stack.lockstep == nullptr;
    stack.is_traced =
        length > 1 &&
        TorchDispatchModeTLS::get_mode(c10::impl::TorchDispatchModeKey::PROXY).has_value();
  } else if (!guarded_modes().empty()) {
    stack.lockstep = guarded_modes().back().get();
  }
  return stack;
}

struct BelowLockstepGuard::SavedStack {
  TorchDispatchModeTLS modes;
};

BelowLockstepGuard::BelowLockstepGuard(bool has_python_tensors)
    : was_active_(below_lockstep), runs_python_(has_python_tensors) {
  below_lockstep = true;
  std::int64_t length = TorchDispatchModeTLS::stack_len();
  for (std::int64_t index = 0; index < length && !runs_python_; ++index) {
    runs_python_ = python_mode_at(index) == nullptr;
  }
  if (length == 0 || !runs_python_) {
    return;  // the caller excludes the Python key; no need to touch the stack
  }
  saved_ = std::make_unique<SavedStack>(SavedStack{TorchDispatchModeTLS::get_state()});
  while (length > 0 && python_mode_at(length - 1) != nullptr) {
    TorchDispatchModeTLS::pop_stack();
    --length;
  }
}

BelowLockstepGuard::~BelowLockstepGuard() {
  if (saved_ != nullptr) {
    TorchDispatchModeTLS::set_state(std::move(saved_->modes));
  }
  below_lockstep = was_active_;
}

bool BelowLockstepGuard::is_active() noexcept { return below_lockstep; }

LockstepGuard::LockstepGuard(std::shared_ptr<LockstepMode> mode)
    : include_python_key_(c10::DispatchKey::Python) {
  mode->restart_generators();
  guarded_modes().push_back(std::move(mode));
}

LockstepGuard::~LockstepGuard() { guarded_modes().pop_back(); }

}  // namespace polyrank
