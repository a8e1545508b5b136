#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/shared_memory/arena.h>
#include <polyrank/world/meeting_exchange.h>
#include <polyrank/world/processes/shared_outcome.h>

#include <vector>

namespace polyrank {
namespace {

using Tensors = std::vector<at::Tensor>;

CollectiveCall call_of(const char* op_name, Tensors inputs, Tensors outputs) {
  CollectiveCall call;
  call.spec = find_collective(op_name);
  call.units = {{std::move(inputs), std::move(outputs)}};
  return call;
}

// Of ranks 0, 1, …, in board memory.
void come(const std::vector<CollectiveCall>& calls, Meeting* meeting) {
  meeting->group = make_board_shared<const MeetingGroup>(MeetingGroup{"world", {}});
  for (std::size_t rank = 0; rank < calls.size(); ++rank) {
    const auto group_rank = static_cast<std::int64_t>(rank);
    meeting->participants.push_back(group_rank);
    meeting->launches.emplace_back(launch_of(calls[rank], "t.py:1"));
    meeting->payloads.push_back(share_call(calls[rank], group_rank));
  }
}

TEST(SharedOutcomeTest, EachTakesWhatIsItsOwn) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const at::Tensor x = at::zeros({1});
  const at::Tensor y = at::zeros({1, 1}).t();
  const std::vector<CollectiveCall> calls = {
      call_of("c10d::scatter_", {at::full({1}, 5.0), at::full({1}, 6.0)}, {x}),
      call_of("c10d::scatter_", {}, {y})};
  Meeting meeting;
  come(calls, &meeting);
  const auto outcome = carry_out_shared(meeting);
  take_gifts(*outcome, 0, calls[0].units);
  EXPECT_EQ(x.item<int>(), 5);
  EXPECT_EQ(y.item<int>(), 0);
  take_gifts(*outcome, 1, calls[1].units);
  EXPECT_EQ(y.item<int>(), 6);
  // What the root brought is not copied again.
  EXPECT_EQ(outcome->tensors.front().own, nullptr);
}

TEST(SharedOutcomeTest, OneResultServesAll) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  std::vector<CollectiveCall> calls;
  for (int rank = 0; rank < 3; ++rank) {
    const at::Tensor x = at::full({2}, rank);
    calls.push_back(call_of("c10d::allreduce_", {x}, {x}));
  }
  Meeting meeting;
  come(calls, &meeting);
  const auto outcome = carry_out_shared(meeting);
  EXPECT_EQ(outcome->tensors.size(), 1U);
  EXPECT_EQ(outcome->gifts.size(), 3U);
  take_gifts(*outcome, 2, calls[2].units);
  EXPECT_EQ(calls[2].units.front().outputs.front()[0].item<int>(), 3);
}

TEST(SharedOutcomeTest, AResultThatDoesNotFitIsAnErrorBeforeAnythingIsWritten) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const at::Tensor x = at::ones({2});
  Meeting meeting;
  come({call_of("c10d::_allgather_base_", {x}, {at::ones({2})})}, &meeting);
  static_cast<SharedCall*>(meeting.payloads[0].get())->units[0].outputs[0].sizes = {3};
  EXPECT_THROW(carry_out_shared(meeting), CollectiveError);
}

}  // namespace
}  // namespace polyrank
