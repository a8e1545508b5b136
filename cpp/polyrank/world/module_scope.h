// Which part of a model runs, in forward and in backward.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/report/call_site.h>

#include <string_view>

namespace polyrank {

// NOTE [Modules in backward]
// Autograd numbers the nodes that a thread makes, in ascending order. So it is enough to note the
// number at which each module was entered and left: in backward the running node's number tells
// which module made it. Recomputed forwards (activation checkpointing) enter their modules again,
// and are found as in forward.

// Notes that the thread runs a part of the model until the end of the scope. Python's modules do so
// while a trace is on.
//
// Thread rule: made and destroyed by one thread.
class POLYRANK_API ModuleScope {
 public:
  explicit ModuleScope(std::string_view path);
  ~ModuleScope();
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;
};

// The same without a scope.
// Requires: each leave_module() follows an enter_module() of its thread
POLYRANK_API void enter_module(std::string_view path);
POLYRANK_API void leave_module();

// The innermost module that the calling thread runs, or in backward whose node it runs.
POLYRANK_API ModulePlace module_place();

// Forgets which module made which node: the notes of a long run take memory. Modules that run stay.
POLYRANK_API void forget_module_nodes();

}  // namespace polyrank
