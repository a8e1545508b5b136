// What a collective gives the members of one group, from what they put in.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/exchange/collective_call.h>
#include <polyrank/exchange/member_tensors.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace polyrank {

// What the members of one group put into a collective.
struct MemberInputs {
  std::string group_label;                // for messages, as are the members
  std::span<const std::int64_t> members;  // global ranks, in the order of the group; not owned
  std::vector<MemberTensors> tensors;     // by input
  std::vector<std::vector<std::int64_t>> input_split_sizes;   // by member; empty: even
  std::vector<std::vector<std::int64_t>> output_split_sizes;  // by member; empty: even
  // Of a coalesced launch: the elements that a member puts in before these, and after them.
  std::int64_t elements_before = 0;
  std::int64_t elements_after = 0;

  std::size_t group_size() const noexcept { return members.size(); }

  // Counts the elements of the call's other units. `numel_of`: of a unit's first input.
  void count_others(const CollectiveCall& call, const CollectiveUnit& own,
                    const std::function<std::int64_t(const at::Tensor&)>& numel_of);
};

// What they get: indexed by output, then by member, or one tensor where all members get the same.
struct MemberOutputs {
  std::vector<std::vector<at::Tensor>> tensors;
  bool same_on_members = false;
  bool are_new = true;  // see RankResults
};

// Runs one collective of a launch for one group.
// What reduce and gather give is for the root alone.
// Requires: the kind moves tensors: not barrier, wait, send or recv
// Shapes: all_gather concatenates along dim 0 (0-dim tensors are stacked); reduce_scatter and
//         all_to_all cut dim 0 where it divides, else the flattened tensor.
// Throws: CollectiveError if the members' tensors do not fit together, naming ranks and shapes.
MemberOutputs exchange(const CollectiveCall& call, const MemberInputs& inputs);

// "ranks 0-2 hold float32[4], rank 3 holds float32[5]": who holds which shape.
std::string describe_members(std::span<const std::int64_t> members, const MemberTensors& tensors);

// "float32[4, 2]".
std::string describe_tensor(const at::Tensor& tensor);

}  // namespace polyrank
