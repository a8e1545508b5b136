// Who makes process groups: factories by the name of their backend.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/core/Device.h>
#include <polyrank/core/export.h>

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>

namespace polyrank::dist2 {

// NOTE [Process groups as values]
// dist2 is the object-oriented API of torch.distributed._dist2: a factory makes a process group,
// the program holds it and calls its methods. torch.distributed does not know it: it is in no
// registry, has no global rank beside its own, and goes when the program lets go of it.
// Three things differ from PyTorch's dist2, all of which fail there:
//  - groups from one environment have keys of their own in the store, so that a second one works;
//  - the time-out holds from the start, also for meeting the others;
//  - after shutdown() or abort() a launch is an error.
using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;
using Store = c10::intrusive_ptr<c10d::Store>;
using c10d::ReduceOp;

// What the program says to one backend, by name.
using BackendOptions = std::map<std::string, c10::IValue>;

// What a factory makes its group of.
struct GroupRequest {
  Store store = {};
  int rank = 0;
  int world_size = 1;
  std::chrono::milliseconds timeout{};
  c10::Device device{c10::kCPU};
  BackendOptions options = {};
};

using ProcessGroupFactory = std::function<ProcessGroup(const GroupRequest&)>;

// The factories of the process: "gloo", "nccl", "fake", "lockstep", "threads", and the program's.
// What a rank that is a thread registers is that rank's alone.
//
// Thread rule: safe from any thread.

// Throws: UsageError if there is a backend of that name, or the name is empty.
POLYRANK_API void register_backend(const std::string& name, ProcessGroupFactory factory);

// Throws: UsageError if there is none, naming those that there are.
POLYRANK_API ProcessGroupFactory find_backend(const std::string& name);

// The group that `factory` makes. Throws: UsageError if it makes none; what the factory throws.
POLYRANK_API ProcessGroup make_group(const std::string& backend, const ProcessGroupFactory& factory,
                                     const GroupRequest& request);

// The factory of "nccl", for who has NCCL: libtorch's headers alone do not tell.
POLYRANK_API void set_nccl_factory(ProcessGroupFactory factory);

// Throws: UnknownOptionError if the request has an option that is not among `known`.
POLYRANK_API void check_options(const GroupRequest& request, std::string_view backend,
                                const std::set<std::string>& known);

}  // namespace polyrank::dist2
