#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/shared_memory/arena.h>
#include <polyrank/world/processes/shared_outcome.h>
#include <world/meetings.h>

#include <vector>

namespace polyrank {
namespace {

using Tensors = std::vector<at::Tensor>;

TEST(SharedOutcomeTest, EachTakesWhatIsItsOwn) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const at::Tensor x = at::zeros({1});
  const at::Tensor y = at::zeros({1, 1}).t();
  const std::vector<CollectiveCall> calls = {
      call_of("c10d::scatter_", {at::full({1}, 5.0), at::full({1}, 6.0)}, {x}),
      call_of("c10d::scatter_", {}, {y})};
  const auto outcome = carry_out_shared(*meeting_of(calls, &share_call));
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
  const auto outcome = carry_out_shared(*meeting_of(calls, &share_call));
  EXPECT_EQ(outcome->tensors.size(), 1U);
  EXPECT_EQ(outcome->gifts.size(), 3U);
  take_gifts(*outcome, 2, calls[2].units);
  EXPECT_EQ(calls[2].units.front().outputs.front()[0].item<int>(), 3);
}

TEST(SharedOutcomeTest, AResultThatDoesNotFitIsAnErrorBeforeAnythingIsWritten) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const at::Tensor x = at::ones({2});
  const auto meeting =
      meeting_of({call_of("c10d::_allgather_base_", {x}, {at::ones({2})})}, &share_call);
  static_cast<SharedCall*>(meeting->payloads[0].get())->units[0].outputs[0].sizes = {3};
  EXPECT_THROW(carry_out_shared(*meeting), CollectiveError);
}

}  // namespace
}  // namespace polyrank
