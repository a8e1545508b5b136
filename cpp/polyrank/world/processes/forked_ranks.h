// Ranks that are processes, forked off a C++ program.
#pragma once

#include <polyrank/core/export.h>
#include <polyrank/matching/fault.h>
#include <polyrank/world/processes/rank_process.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace polyrank {

// How one rank ended.
struct RankEnding {
  std::string result;                                 // what its program gave
  std::optional<Fault> fault;                         // why it gave nothing
  std::chrono::steady_clock::time_point when_failed;  // which all processes count alike
};

// Calls `program` once per rank, each in a process that is forked off this one, and returns when
// all have ended; endings by rank.
//
// A rank has what the caller has, at the cost of what it writes to. It computes on one thread, and
// ends with the caller, however that ends. Nothing that the caller has registered to run at its
// exit runs in a rank. When a rank fails or dies, the others are told from whatever they do next
// with their groups; who has not ended `grace` after that is killed, and its fault says so.
// Requires: the caller has the interpreter's lock, if it has an interpreter
// Throws: UsageError if there are fewer than one rank; Error if a process can't be made.
POLYRANK_API std::vector<RankEnding> fork_ranks(
    const std::shared_ptr<RankProcess>& process,
    const std::function<std::string(std::int64_t rank)>& program,
    std::chrono::milliseconds grace = std::chrono::seconds(10));

}  // namespace polyrank
