// The state of one LocalTensorMode: which ranks run, and their random streams.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/engine/rank_generators.h>

#include <map>
#include <memory>
#include <optional>

namespace polyrank {

// Ranks that run in lockstep: while a mode is active, factories make LocalTensors over its ranks
// and random operators draw from its ranks' streams.
//
// Thread rule: entered and left by one thread. Threads that its program starts, and autograd's, use
// it meanwhile; of its generators only in a RandomTurn.
class POLYRANK_API LockstepMode {
 public:
  // Throws: UsageError if `ranks` is empty.
  explicit LockstepMode(RankSet ranks);

  const RankSet& ranks() const noexcept { return ranks_; }

  // A disabled mode makes no LocalTensors; LocalTensors that there are still run on all ranks.
  bool is_enabled() const noexcept { return is_enabled_; }
  void set_enabled(bool enabled) noexcept { is_enabled_ = enabled; }

  // The ranks' streams on `device`; they start in the state that the device's default generator
  // has when they are first asked for, or at enter() for the CPU.
  RankGenerators& generators(c10::Device device);

  // The streams start anew from the default generators' present states.
  void restart_generators();

  // Leaves the lowest rank's streams in the default generators, so that a program goes on after
  // the mode as that rank would.
  void store_generators();

 private:
  RankSet ranks_;
  bool is_enabled_ = true;
  std::map<c10::Device, RankGenerators, bool (*)(const c10::Device&, const c10::Device&)>
      generators_;
};

// NOTE [Which mode is on]
// Python keeps active modes on PyTorch's stack of dispatch modes, where order matters: modes above
// ours see each operator once, on LocalTensors, and modes below see the operators of the cohorts.
// A Python mode object is tied to its LockstepMode here, by address, so that the kernel finds the
// mode without the interpreter, on whatever thread autograd runs. A program without Python pushes
// a LockstepGuard, which is above all.
POLYRANK_API void register_python_mode(const void* python_mode, std::shared_ptr<LockstepMode> mode);
POLYRANK_API void unregister_python_mode(const void* python_mode);

// What stands on top of the thread's stack of modes.
struct ModeStack {
  LockstepMode* lockstep = nullptr;  // the topmost lockstep mode, if nothing stands above it
  bool foreign_on_top = false;       // another dispatch mode must see the operator first
  bool any_python_mode = false;
  bool is_traced = false;  // a tracer below ours would record one rank's operators as constants
};
POLYRANK_API ModeStack current_modes();

// Takes lockstep modes off the top of PyTorch's stack while operators of cohorts run, and keeps
// those further down from acting. `runs_python()` tells whether the operators must still reach the
// Python key: other modes are left, or tensors among their arguments dispatch to Python themselves.
class POLYRANK_API BelowLockstepGuard {
 public:
  explicit BelowLockstepGuard(bool has_python_tensors);
  ~BelowLockstepGuard();
  BelowLockstepGuard(const BelowLockstepGuard&) = delete;
  BelowLockstepGuard& operator=(const BelowLockstepGuard&) = delete;

  bool runs_python() const noexcept { return runs_python_; }

  // Whether this thread is inside such a guard: the tensors at hand are one cohort's.
  static bool is_active() noexcept;

 private:
  struct SavedStack;
  std::unique_ptr<SavedStack> saved_;
  bool was_active_;
  bool runs_python_;
};

// Runs the rest of the scope in lockstep over `world_size` ranks, without an interpreter.
class POLYRANK_API LockstepGuard {
 public:
  explicit LockstepGuard(std::shared_ptr<LockstepMode> mode);
  ~LockstepGuard();
  LockstepGuard(const LockstepGuard&) = delete;
  LockstepGuard& operator=(const LockstepGuard&) = delete;

 private:
  c10::impl::IncludeDispatchKeyGuard include_python_key_;
};

}  // namespace polyrank
