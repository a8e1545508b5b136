#include <ATen/core/dispatch/Dispatcher.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/composite_errors.h>
#include <polyrank/engine/first_key.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/engine/operands.h>
#include <polyrank/engine/run_foreach.h>
#include <polyrank/engine/run_operator.h>

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

thread_local bool engine_is_forced = false;

const c10::DispatchKeySet kBelowPython(c10::DispatchKeySet::FULL_AFTER, c10::DispatchKey::Python);

// An operator without any kernel: what the dispatcher computes for it are the fallbacks.
constexpr const char* kProbe = "polyrank::_fallbacks";

const c10::SafeKernelFunction& python_fallback() {
  static const c10::SafeKernelFunction fallback = pytorch_fallback(c10::DispatchKey::Python);
  return fallback;
}

class LocalKernel final : public c10::OperatorKernel {
 public:
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
    cover_operators();
    const ModeStack modes = current_modes();
    const bool is_forced = std::exchange(engine_is_forced, false);
    if (modes.foreign_on_top && !is_forced) {
      python_fallback().callBoxed(op, keys, stack);
      return;
    }
    try {
      dispatch(op, keys, modes, stack);
    } catch (const Error&) {
      if (interpreter_hooks().rethrow != nullptr) {
        interpreter_hooks().rethrow(std::current_exception());
      }
      throw;
    }
  }

 private:
  void dispatch(const c10::OperatorHandle& op, c10::DispatchKeySet keys, const ModeStack& modes,
                torch::jit::Stack* stack) {
    const OperatorInfo& info = this->info(op);
    const OperandScan scan = scan_operands(torch::jit::last(*stack, info.num_arguments));
    if (scan.has_foreign) {
      python_fallback().callBoxed(op, keys, stack);
      return;
    }
    if (scan.has_local && modes.is_traced) {
      throw UnsupportedOpError(str_cat(
          c10::toString(op.operator_name()),
          ": LocalTensors can't be traced (make_fx, torch.func.linearize): the graph would hold "
          "each rank's values as constants. Trace the program of one rank outside of the mode."));
    }
    LockstepMode* mode = modes.lockstep;
    const bool in_mode = mode != nullptr && mode->is_enabled() && !BelowLockstepGuard::is_active();
    const bool is_factory = info.returns_tensor && (!scan.has_plain || info.makes_like);
    if (info.handler != nullptr && (scan.has_local || in_mode)) {
      info.handler(op, stack);
    } else if (scan.has_local || (in_mode && (is_factory || info.is_random || info.lifts_plain))) {
      if (info.is_of_python) {
        op.redispatchBoxed(keys & kBelowPython, stack);
      } else if (info.is_foreach) {
        run_foreach(op, info, mode, stack);
      } else {
        run_operator(op, info, mode, stack);
      }
    } else if (mode != nullptr) {
      run_below(op, scan.has_fake, stack);
    } else {
      python_fallback().callBoxed(op, keys, stack);
    }
  }

  const OperatorInfo& info(const c10::OperatorHandle& op) {
    std::call_once(info_made_, [&] { info_.emplace(op); });
    return info_.value();
  }

  std::once_flag info_made_;
  std::optional<OperatorInfo> info_;
};

// Which operators have our kernel. Listeners run under the dispatcher's lock, where nothing may be
// registered, so they only note what to do.
class Coverage final {
 public:
  static Coverage& instance() {
    static auto* coverage = new Coverage();  // lives as long as the dispatcher
    return *coverage;
  }

  void note_registered(const c10::OperatorName& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    to_cover_.push_back(name);
    has_work_.store(true, std::memory_order_release);
  }

  void note_removed(const c10::OperatorName& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    to_drop_.push_back(name);
    has_work_.store(true, std::memory_order_release);
  }

  void cover() {
    if (!has_work_.load(std::memory_order_acquire)) {
      return;
    }
    std::vector<c10::OperatorName> to_cover;
    std::vector<c10::OperatorName> to_drop;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      to_cover.swap(to_cover_);
      to_drop.swap(to_drop_);
      has_work_.store(false, std::memory_order_release);
    }
    const std::lock_guard<std::mutex> lock(registration_mutex_);
    for (const auto& name : to_drop) {
      registrations_.erase(name);
    }
    c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
    for (const auto& name : to_cover) {
      const auto op = dispatcher.findSchema(name);
      if (!op) {
        continue;
      }
      if (!op->hasKernelForDispatchKey(c10::DispatchKey::Python)) {
        add(name, c10::DispatchKey::Python,
            c10::KernelFunction::makeFromBoxedFunctor(std::make_unique<LocalKernel>()));
      }
      if (is_composite(*op)) {
        add(name, kFirstKey, composite_kernel());
      }
    }
  }

 private:
  void add(const c10::OperatorName& name, c10::DispatchKey key, c10::KernelFunction kernel) {
    registrations_.emplace(
        name, c10::Dispatcher::singleton().registerImpl(name, key, std::move(kernel), std::nullopt,
                                                        nullptr, "polyrank"));
  }

  class Listener final : public c10::OpRegistrationListener {
   public:
    explicit Listener(Coverage* coverage) : coverage_(coverage) {}
    void onOperatorRegistered(const c10::OperatorHandle& op) override {
      coverage_->note_registered(op.operator_name());
    }
    void onOperatorDeregistered(const c10::OperatorHandle& op) override {
      coverage_->note_removed(op.operator_name());
    }

   private:
    Coverage* coverage_;
  };

  Coverage() {
    python_fallback();  // defines its probe before anything is covered
    c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
    listener_.emplace(dispatcher.addRegistrationListener(std::make_unique<Listener>(this)));
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(to_cover_, [](const auto& name) { return name.name == kProbe; });
  }

  std::mutex mutex_;
  std::vector<c10::OperatorName> to_cover_;
  std::vector<c10::OperatorName> to_drop_;
  std::atomic<bool> has_work_{false};
  std::mutex registration_mutex_;
  std::unordered_multimap<c10::OperatorName, c10::RegistrationHandleRAII> registrations_;
  std::optional<c10::RegistrationHandleRAII> listener_;
};

}  // namespace

c10::SafeKernelFunction pytorch_fallback(c10::DispatchKey key) {
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  static const c10::RegistrationHandleRAII probe =
      dispatcher.registerDef(c10::FunctionSchema(kProbe, "", {}, {}), "polyrank");
  return dispatcher.findSchemaOrThrow(kProbe, "").getComputedKernelForDispatchKey(key);
}

void cover_operators() { Coverage::instance().cover(); }

ForceEngineGuard::ForceEngineGuard() : was_forced_(std::exchange(engine_is_forced, true)) {}

ForceEngineGuard::~ForceEngineGuard() { engine_is_forced = was_forced_; }

}  // namespace polyrank
