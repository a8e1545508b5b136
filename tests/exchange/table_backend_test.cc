#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/collective_work.h>
#include <polyrank/exchange/table_backend.h>

#include <string>
#include <utility>
#include <vector>

namespace polyrank {
namespace {

using Tensors = std::vector<at::Tensor>;

// Keeps the last call.
class KeepingBackend final : public TableBackend {
 public:
  KeepingBackend() : TableBackend(0, 2) {}
  const std::string getBackendName() const override { return "keeping"; }
  CollectiveCall last;

 protected:
  Work launch(CollectiveCall call, c10d::OpType /*op_type*/) override {
    last = std::move(call);
    return CompletedWork::make({});
  }
  Work launch_message(CollectiveCall call, c10d::OpType op_type) override {
    return launch(std::move(call), op_type);
  }
};

class TableBackendTest : public ::testing::Test {
 protected:
  const CollectiveCall& last() const { return backend_->last; }

  c10::intrusive_ptr<KeepingBackend> backend_ = c10::make_intrusive<KeepingBackend>();
  at::Tensor x_ = at::ones({4});
  Tensors one_{x_};
};

TEST_F(TableBackendTest, OutputsThatAreInputsStandInBoth) {
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::MAX;
  backend_->allreduce(one_, options);
  EXPECT_EQ(last().spec->op_name, "c10d::allreduce_");
  EXPECT_EQ(last().reduce_op, ReduceOp::kMax);
  EXPECT_TRUE(last().units.front().inputs.front().is_same(x_));
  EXPECT_TRUE(last().units.front().outputs.front().is_same(x_));
}

TEST_F(TableBackendTest, CoalescedOnesHaveAUnitForEach) {
  Tensors inputs{x_, x_};
  std::vector<Tensors> outputs{{x_, at::ones({1})}, {x_, at::ones({2})}};  // by member, by tensor
  backend_->allgather_coalesced(outputs, inputs, {});
  ASSERT_EQ(last().units.size(), 2U);
  EXPECT_EQ(last().units[1].outputs[1].numel(), 2);
}

TEST_F(TableBackendTest, RootsHaveListsAndTheOthersNone) {
  std::vector<Tensors> lists{{x_, x_}};
  std::vector<Tensors> none;
  c10d::GatherOptions options;
  options.rootRank = 1;
  backend_->gather(lists, one_, options);
  EXPECT_EQ(last().root, 1);
  EXPECT_EQ(last().units.front().outputs.size(), 2U);
  backend_->gather(none, one_, options);
  EXPECT_TRUE(last().units.front().outputs.empty());
}

TEST_F(TableBackendTest, GathersIntoOneTensor) {
  at::Tensor output = at::ones({8});
  c10d::GatherOptions options;
  options.rootRank = 1;
  backend_->gather_single(output, x_, options);
  EXPECT_EQ(last().spec->op_name, "c10d::gather_into_tensor_");
  EXPECT_EQ(last().root, 1);
  EXPECT_TRUE(last().units.front().outputs.front().is_same(output));
}

TEST_F(TableBackendTest, SplitSizesAndMessages) {
  std::vector<std::int64_t> output_sizes{1, 3};
  std::vector<std::int64_t> input_sizes{2, 2};
  at::Tensor output = at::ones({4});
  backend_->alltoall_base(output, x_, output_sizes, input_sizes, {});
  EXPECT_EQ(last().output_split_sizes[1], 3);
  EXPECT_EQ(last().input_split_sizes[0], 2);
  backend_->send(one_, 1, 9);
  EXPECT_EQ(last().peers.front(), 1);
  EXPECT_EQ(last().tags.front(), 9);
  EXPECT_TRUE(last().is_send.front());
  backend_->recvAnysource(one_, 9);
  EXPECT_TRUE(last().peers.empty());
}

TEST_F(TableBackendTest, RefusesMoreTensorsThanARankHasDevices) {
  Tensors two{x_, x_};
  EXPECT_THROW(backend_->broadcast(two, {}), CollectiveError);
  std::vector<Tensors> lists{{x_, x_}, {x_, x_}};
  EXPECT_THROW(backend_->allgather(lists, one_, {}), CollectiveError);
  Tensors three{x_, x_, x_};
  EXPECT_THROW(backend_->allgather_into_tensor_coalesced(three, two, {}), CollectiveError);
}

}  // namespace
}  // namespace polyrank
