// Calls, and the meetings that they come to, for the tests of what carries meetings out.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/world/meeting_exchange.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace polyrank {

inline CollectiveCall call_of(const char* op_name, std::vector<at::Tensor> inputs,
                              std::vector<at::Tensor> outputs) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  call.units = {{std::move(inputs), std::move(outputs)}};
  return call;
}

using PayloadOf =
    std::function<std::shared_ptr<void>(const CollectiveCall& call, std::int64_t rank)>;

// Of ranks 0, 1, …, in board memory.
inline std::shared_ptr<Meeting> meeting_of(
    const std::vector<CollectiveCall>& calls,
    const PayloadOf& payload_of = [](const auto&, auto) { return nullptr; }) {
  auto meeting = make_board_shared<Meeting>();
  meeting->group = make_board_shared<const MeetingGroup>(MeetingGroup{"world", {}});
  for (std::size_t rank = 0; rank < calls.size(); ++rank) {
    const auto number = static_cast<std::int64_t>(rank);
    meeting->participants.push_back(number);
    meeting->launches.emplace_back(launch_of(calls[rank], "t.py:1"));
    meeting->payloads.push_back(payload_of(calls[rank], number));
  }
  return meeting;
}

}  // namespace polyrank
