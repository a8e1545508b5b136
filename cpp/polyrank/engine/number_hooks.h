// What rank-dependent numbers ask of a Python interpreter, where the process has one.
#pragma once

#include <c10/core/SymNodeImpl.h>
#include <polyrank/core/export.h>

#include <atomic>
#include <cstdint>

namespace polyrank {

// Who asks a question about rank-dependent numbers.
enum class NumberCaller : std::uint8_t {
  kTorch,  // C++, a Python frame inside torch, or a direct call of a node's method
  kUser,   // an operator in any other Python frame
};

// Set by the bindings (see NOTE [No interpreter needed] in interpreter_hooks.h). Without them every
// caller is C++, and no node is hidden behind a Python object.
//
// Thread rule: may be set and called by any thread, whether or not it holds the GIL.
struct NumberHooks {
  std::atomic<NumberCaller (*)()> caller{nullptr};

  // The node that PyTorch wrapped in a Python object on its way to C++, as it does with each node
  // of a SymFloat or SymBool; null if `node` is no such wrapper.
  std::atomic<const c10::SymNodeImpl* (*)(const c10::SymNodeImpl& node)> behind_python{nullptr};
};
POLYRANK_API NumberHooks& number_hooks() noexcept;

// Cost: looks at Python frames, so ask only where the answer matters.
NumberCaller caller();

}  // namespace polyrank
