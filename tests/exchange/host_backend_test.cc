#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/collective_work.h>
#include <polyrank/exchange/host_backend.h>
#include <polyrank/exchange/host_memory.h>
#include <polyrank/exchange/table_backend.h>

#include <utility>
#include <vector>

namespace polyrank {
namespace {

using Tensors = std::vector<at::Tensor>;
constexpr int kSize = 4;

// One of four members, of which the others hold zeros; keeps the last call.
class AloneBackend final : public TableBackend {
 public:
  AloneBackend() : TableBackend(0, kSize) {}
  const std::string getBackendName() const override { return "alone"; }
  CollectiveCall last;

 protected:
  Work launch(CollectiveCall call, c10d::OpType /*op_type*/) override {
    last = std::move(call);
    for (const CollectiveUnit& unit : last.units) {
      if (unit.outputs.front().numel() == unit.inputs.front().numel()) {
        at::Tensor(unit.outputs.front()).copy_(unit.inputs.front());
      }
    }
    return CompletedWork::make({});
  }
  Work launch_message(CollectiveCall call, c10d::OpType op_type) override {
    return launch(std::move(call), op_type);
  }
};

class HostBackendTest : public ::testing::Test {
 protected:
  c10::intrusive_ptr<AloneBackend> inner_ = c10::make_intrusive<AloneBackend>();
  c10::intrusive_ptr<HostBackend> backend_ =
      c10::make_intrusive<HostBackend>(inner_, c10::make_intrusive<c10d::Backend::Options>("nccl"));
  at::Tensor x_ = at::full({2}, 8.0);
  Tensors one_{x_};
};

TEST_F(HostBackendTest, HasTheNameOfItsOptions) { EXPECT_EQ(backend_->getBackendName(), "nccl"); }

TEST_F(HostBackendTest, SumsAreTheInnerBackends) {
  backend_->allreduce(one_, {});
  EXPECT_EQ(inner_->last.reduce_op, ReduceOp::kSum);
  EXPECT_TRUE(x_.eq(8).all().item<bool>());  // (1)
}

TEST_F(HostBackendTest, AveragesAreSumsDividedByTheSize) {
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::AVG;
  const auto work = backend_->allreduce(one_, options);
  EXPECT_EQ(inner_->last.reduce_op, ReduceOp::kSum);
  work->wait();
  work->wait();                              // once is enough
  EXPECT_TRUE(x_.eq(2).all().item<bool>());  // (2)
  at::Tensor number = at::full({1}, -7, at::kLong);
  Tensors numbers{number};
  backend_->allreduce(numbers, options)->wait();
  EXPECT_EQ(number.item<int>(), -1);
}

TEST_F(HostBackendTest, FuturesHaveWhatWasGivenWhenAllIsDone) {
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::AVG;
  const auto future = backend_->allreduce(one_, options)->getFuture();
  future->wait();
  EXPECT_TRUE(future->value().toTensorVector().at(0).is_same(x_));
  EXPECT_TRUE(x_.eq(2).all().item<bool>());
}

TEST_F(HostBackendTest, OnlyTheRootDividesWhatItGets) {
  c10d::ReduceOptions options;
  options.reduceOp = c10d::ReduceOp::AVG;
  options.rootRank = 1;
  backend_->reduce(one_, options)->wait();
  EXPECT_TRUE(x_.eq(8).all().item<bool>());
  options.rootRank = 0;
  backend_->reduce(one_, options)->wait();
  EXPECT_TRUE(x_.eq(2).all().item<bool>());
}

TEST_F(HostBackendTest, InputsOfAnAverageStayAsTheyAre) {
  c10d::ReduceScatterOptions options;
  options.reduceOp = c10d::ReduceOp::AVG;
  at::Tensor output = at::zeros({2});
  backend_->_reduce_scatter_base(output, x_, options)->wait();
  EXPECT_TRUE(output.eq(2).all().item<bool>());
  EXPECT_TRUE(x_.eq(8).all().item<bool>());
}

TEST_F(HostBackendTest, TheRootGathersIntoTheRowsOfOneTensor) {
  c10d::GatherOptions options;
  at::Tensor output = at::zeros({2 * kSize});
  backend_->gather_single(output, x_, options);
  EXPECT_EQ(inner_->last.units.front().outputs.size(), std::size_t{kSize});
  EXPECT_TRUE(output.narrow(0, 0, 2).eq(8).all().item<bool>());  // what AloneBackend writes
  at::Tensor placeholder = at::zeros({0});
  EXPECT_THROW(backend_->gather_single(placeholder, x_, options), CollectiveError);
}

TEST_F(HostBackendTest, TheOneTensorOfAllRanksMayHaveAnyShape) {
  at::Tensor input = at::arange(4.0).view({2, 2});
  at::Tensor output = at::zeros({2, 2 * kSize});
  backend_->_allgather_base(output, input, {});
  EXPECT_EQ(inner_->last.units.front().inputs.front().dim(), 1);  // (3)
  Tensors outputs{at::zeros({kSize, 2, 2})};
  Tensors inputs{input};
  backend_->allgather_into_tensor_coalesced(outputs, inputs, {});
  EXPECT_EQ(inner_->last.units.front().inputs.front().dim(), 1);
  at::Tensor piece = at::zeros({2, 2});
  backend_->_reduce_scatter_base(piece, output, {});
  EXPECT_EQ(inner_->last.units.front().inputs.front().dim(), 1);
  Tensors pieces{piece};
  backend_->reduce_scatter_tensor_coalesced(pieces, outputs, {});
  EXPECT_EQ(inner_->last.units.front().outputs.front().dim(), 1);
}

TEST_F(HostBackendTest, FactorsMultiplyWhatAMemberPutsIn) {
  c10d::ReduceScatterOptions options;
  options.reduceOp = c10d::makePreMulSum(0.5);
  at::Tensor output = at::zeros({2});
  backend_->_reduce_scatter_base(output, x_, options)->wait();
  EXPECT_TRUE(output.eq(4).all().item<bool>());
  EXPECT_TRUE(x_.eq(8).all().item<bool>());
  c10d::AllreduceOptions in_place;
  in_place.reduceOp = c10d::makePreMulSum(at::full({1}, 0.25));
  backend_->allreduce(one_, in_place)->wait();
  EXPECT_TRUE(x_.eq(2).all().item<bool>());
}

TEST_F(HostBackendTest, TensorsAreHandedOnInHostMemory) {
  static at::Tensor host;
  host = at::full({2}, 3.0);
  set_host_memory_of_cuda([](const at::Tensor& /*tensor*/) { return host; });
  Tensors on_gpu{at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(c10::Storage::use_byte_size_t(), 0,
                   c10::DataPtr(nullptr, c10::Device(c10::kCUDA, 1))),
      c10::DispatchKeySet(c10::DispatchKey::CUDA), caffe2::TypeMeta::Make<float>())};
  backend_->broadcast(on_gpu, {});
  set_host_memory_of_cuda(nullptr);
  EXPECT_TRUE(inner_->last.units.front().inputs.front().is_same(host));
}

}  // namespace
}  // namespace polyrank
