// How operators reach the engine: one boxed kernel per operator at the Python dispatch key.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <polyrank/core/export.h>

namespace polyrank {

// NOTE [The kernel at the Python key]
// A LocalTensor carries the Python dispatch key, and so does the thread while a dispatch mode is
// active. PyTorch handles that key by a fallback that calls into Python. For each operator we put
// a kernel of our own there, which is found before the fallback. It decides:
//
//   another dispatch mode stands above ours         -> PyTorch's fallback (that mode goes first)
//   an operand handles operators itself (DTensor)   -> PyTorch's fallback
//   a collective, with LocalTensors or in a mode    -> its handler
//   a LocalTensor or rank-dependent number          -> the engine, once per cohort
//   in a mode, a factory (also `empty_like` of a plain tensor) or a random operator -> the engine
//   in a mode, plain tensors only                   -> the operator, below our modes
//   anything else                                   -> PyTorch's fallback
//
// So plain programs pay nothing, modes above ours see each operator once, on LocalTensors, and
// modes below ours (FakeTensorMode) see the operators of the cohorts.
//
// An operator that already has a kernel at the Python key keeps it. An operator registered later is
// covered when the next operator reaches a kernel of ours, or a mode is entered; until then
// `LocalTensor.__torch_dispatch__` catches it.

// PyTorch's own kernel for a key, which serves all operators that have none of their own there.
// Requires: `key` has such a fallback
c10::SafeKernelFunction pytorch_fallback(c10::DispatchKey key);

// Puts the kernel on every operator that is registered and lacks it. Cheap when nothing is new.
POLYRANK_API void cover_operators();

// Makes the next operator on this thread that reaches our kernel run in the engine, whatever modes
// stand above: for `__torch_dispatch__`, which PyTorch calls after those modes declined.
class POLYRANK_API ForceEngineGuard {
 public:
  ForceEngineGuard();
  ~ForceEngineGuard();
  ForceEngineGuard(const ForceEngineGuard&) = delete;
  ForceEngineGuard& operator=(const ForceEngineGuard&) = delete;

 private:
  bool was_forced_;
};

}  // namespace polyrank
