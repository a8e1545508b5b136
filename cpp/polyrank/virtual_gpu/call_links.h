// What the messages of a launch send over a GPU's links.
#pragma once

#include <polyrank/exchange/collective_call.h>
#include <polyrank/timeline/link_bytes.h>

#include <cstdint>
#include <vector>

namespace polyrank {

std::int64_t bytes_of(const std::vector<at::Tensor>& tensors);

// Where a group's members are, as a rank has it.
struct MemberNodes {
  NcclGroup group;
  std::int64_t own = 0;             // member
  std::vector<bool> is_other_node;  // by member
};

// Each message goes over the links between this rank and its peer: of an all-to-all what the splits
// say, however uneven; of a batch all that is sent and received. A message from anyone takes the
// slower way where there is one, since nobody knows who sends it.
// Requires: is_made_of_messages(call.spec->kind); `payload` as NOTE [Payload] in cost_model.h has
// it
ByLink message_bytes(const CollectiveCall& call, const MemberNodes& members, double payload);

}  // namespace polyrank
