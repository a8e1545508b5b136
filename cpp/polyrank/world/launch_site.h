// Where in a program collectives are launched.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/core/export.h>

#include <compare>
#include <cstdint>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

namespace polyrank {

// A line of the program, and which collective of which group it launches.
struct LaunchSite {
  std::string op_name = {};
  std::string file = {};  // empty: not known
  int line = 0;
  std::string group = {};  // its label: "mesh_dp", "world", "ranks 0-3"; empty: it names none
  auto operator<=>(const LaunchSite&) const = default;
};

// One launch there.
struct LaunchThere {
  LaunchSite site = {};
  std::int64_t group_size = 1;
  std::string members = {};  // global ranks of the group: "0-3"; of the one named, in lockstep
  std::string ranks = {};    // that launch: one, or in lockstep all: "0-7"
};

// What the calling thread launches now, with these arguments.
// Throws: c10::Error if no process group has the name that the operator was given.
// Thread rule: any thread.
POLYRANK_API LaunchThere launch_there(const CollectiveSpec& spec,
                                      c10::ArrayRef<c10::IValue> arguments);

}  // namespace polyrank
