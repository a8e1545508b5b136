// What a rank has launched and not waited for yet.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>
#include <polyrank/matching/match_board.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {

// NOTE [Launches in flight]
// Between an asynchronous launch and its wait a real backend's threads read and write the tensors.
// Here that happens at one moment, so a program that forgets the wait, or writes to the tensors
// meanwhile, has right values here and none that it can rely on elsewhere. It is told when the run
// ends. A write is seen by the tensor's version. Views are left out: they have the version of the
// whole memory, of which somebody may write another part. What PyTorch launches for itself is left
// out: the program has no Work of it.

// The launches of one rank.
//
// Thread rule: safe from any thread.
class POLYRANK_API LaunchesInFlight {
 public:
  using Id = std::uint64_t;

  // An asynchronous launch on these tensors, which brought the rank to that meeting.
  Id add(std::shared_ptr<const Meeting> meeting, const std::vector<at::Tensor>& tensors);

  // The rank waits for it, or has seen that it is complete.
  // Requires: once for each id
  void waited(Id id);

  // What is to be told at the end, a line each: launches of `rank` that were never waited for, and
  // those whose tensors were written in flight.
  std::vector<std::string> findings(std::int64_t rank) const;

 private:
  struct InFlight {
    std::shared_ptr<const Meeting> meeting;
    std::vector<std::pair<at::Tensor, std::uint32_t>> versions;  // at the launch
  };

  mutable std::mutex mutex_;
  std::map<Id, InFlight> in_flight_;  // in the order of launching, the first ones
  std::vector<std::shared_ptr<const Meeting>> written_;
  Id next_id_ = 0;
  std::int64_t num_not_kept_ = 0;
};

}  // namespace polyrank
