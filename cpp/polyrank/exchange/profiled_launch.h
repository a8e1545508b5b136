// A launch as PyTorch's profilers show it.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/exchange/collective_call.h>

#include <functional>
#include <string>
#include <torch/csrc/distributed/c10d/Work.hpp>

namespace polyrank {

// Begins an event "gloo:all_reduce", as a backend of that name begins one (c10d's Work does by its
// profilingTitle), with the call's inputs; the function that is returned ends it, on any thread.
// None where no profiler is on, or backends show no such launch.
POLYRANK_API std::function<void()> begin_profiled(const std::string& backend, c10d::OpType op_type,
                                                  const CollectiveCall& call);

}  // namespace polyrank
