#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/collective_op.h>

#include <set>
#include <string>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class CollectiveOpTest : public ::testing::Test {
 protected:
  void SetUp() override { c10d::register_process_group("fake_collectives", group_); }
  void TearDown() override { c10d::unregister_process_group("fake_collectives"); }

  c10::intrusive_ptr<c10d::ProcessGroup> group_ = c10::make_intrusive<c10d::ProcessGroup>(
      c10::make_intrusive<c10d::HashStore>(), /*rank=*/0, /*size=*/4);
  // As a kernel finds them on the stack: 4 of the 16 floats of a storage.
  at::Tensor view_ = at::zeros({16}).slice(0, 0, 4);
  std::vector<c10::IValue> arguments_{view_, "sum", "fake_collectives"};
};

TEST_F(CollectiveOpTest, TellsGroupAndSizes) {
  const std::vector<c10::IValue> results{at::zeros({4})};
  EXPECT_EQ(CollectiveOp::get_process_group("_c10d_functional::all_reduce", arguments_), group_);
  EXPECT_EQ(CollectiveOp::get_comm_tensor_size("_c10d_functional::all_reduce", arguments_, results),
            64);
  EXPECT_EQ(CollectiveOp::payload_bytes("_c10d_functional::all_reduce", arguments_, results), 16);
}

TEST_F(CollectiveOpTest, ReadsTheStackOfAKernel) {
  const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("_c10d_functional::all_reduce", "");
  const torch::jit::Stack stack{7, view_, "sum", "fake_collectives"};  // on top of what was there
  const auto arguments = torch::jit::last(stack, op.schema().arguments().size());
  const std::string& name = op.operator_name().name;
  EXPECT_EQ(CollectiveOp::get_process_group(name, arguments), group_);
  const torch::jit::Stack results{at::zeros({4})};
  EXPECT_EQ(CollectiveOp::get_comm_tensor_size(name, arguments, results), 64);
}

TEST_F(CollectiveOpTest, ChargesInputsAndResultsOfAnAllToAll) {
  const std::vector<c10::IValue> arguments{view_, std::vector<std::int64_t>{1, 1, 1, 1},
                                           std::vector<std::int64_t>{1, 1, 1, 1},
                                           "fake_collectives"};
  const std::vector<c10::IValue> results{at::zeros({4})};
  constexpr auto kOperator = "_c10d_functional::all_to_all_single";
  EXPECT_EQ(CollectiveOp::get_comm_tensor_size(kOperator, arguments, results), 80);
  EXPECT_EQ(CollectiveOp::payload_bytes(kOperator, arguments, results), 16);
  EXPECT_THAT([&] { CollectiveOp::get_comm_tensor_size(kOperator, arguments, {}); },
              ThrowsMessage<UsageError>(HasSubstr("its results are needed")));
}

TEST_F(CollectiveOpTest, CountsAStorageEachTime) {
  const c10::List<at::Tensor> list({view_, view_});
  EXPECT_EQ(CollectiveOp::sum_tensors({c10::IValue(list), c10::IValue(1), c10::IValue(view_)}),
            192);
  EXPECT_EQ(CollectiveOp::sum_tensors({}), 0);
}

TEST_F(CollectiveOpTest, RefusesWhatIsNotThere) {
  EXPECT_THAT([&] { CollectiveOp::get_process_group("aten::add", arguments_); },
              ThrowsMessage<UsageError>(HasSubstr("no collective")));
  EXPECT_THAT([&] { CollectiveOp::get_process_group("_c10d_functional::wait_tensor", arguments_); },
              ThrowsMessage<UsageError>(HasSubstr("has no process group")));
  EXPECT_THAT([&] { CollectiveOp::get_work("_c10d_functional::all_reduce", arguments_); },
              ThrowsMessage<UsageError>(HasSubstr("has no Work")));
  EXPECT_THAT([&] { CollectiveOp::get_comm_tensor_size("c10d::barrier", arguments_, {}); },
              ThrowsMessage<UsageError>(HasSubstr("has no tensors")));
  EXPECT_THAT([&] { CollectiveOp::get_process_group("c10d::allgather_", {}); },
              ThrowsMessage<UsageError>(HasSubstr("was given 0 arguments")));
}

TEST(UniqueId, IsNeverTheSame) {
  std::set<std::int64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(seen.insert(generate_unique_id()).second);
  }
}

}  // namespace
}  // namespace polyrank
