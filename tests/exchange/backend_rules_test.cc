#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/backend_rules.h>

namespace polyrank {
namespace {

MemoryOrder input_order(const char* op_name, c10::DeviceType device) {
  return needed_memory_order(*find_collective(op_name), ArgumentRole::kInput, device);
}

MemoryOrder output_order(const char* op_name, c10::DeviceType device) {
  return needed_memory_order(*find_collective(op_name), ArgumentRole::kOutput, device);
}

TEST(BackendRules, GlooReadsMemoryFromFirstToLastWhereItMakesNoCopy) {
  EXPECT_EQ(input_order("c10d::allreduce_", c10::kCPU), MemoryOrder::kDense);
  EXPECT_EQ(input_order("c10d::broadcast_", c10::kCPU), MemoryOrder::kDense);
  EXPECT_EQ(input_order("c10d::allreduce_coalesced_", c10::kCPU), MemoryOrder::kAny);
  EXPECT_EQ(output_order("c10d::_allgather_base_", c10::kCPU), MemoryOrder::kAny);
  EXPECT_EQ(input_order("c10d::reduce_scatter_", c10::kCPU), MemoryOrder::kContiguous);
  EXPECT_EQ(output_order("c10d::_reduce_scatter_base_", c10::kCPU), MemoryOrder::kAny);
  EXPECT_EQ(output_order("c10d::alltoall_base_", c10::kCPU), MemoryOrder::kContiguous);
  EXPECT_EQ(output_order("c10d::alltoall_", c10::kCPU), MemoryOrder::kAny);
  EXPECT_EQ(input_order("c10d::send", c10::kCPU), MemoryOrder::kContiguous);
}

TEST(BackendRules, NcclRefusesAllButListsThatItCopies) {
  EXPECT_EQ(input_order("c10d::allreduce_", c10::kCUDA), MemoryOrder::kContiguous);
  EXPECT_EQ(output_order("c10d::_allgather_base_", c10::kCUDA), MemoryOrder::kContiguous);
  EXPECT_EQ(output_order("c10d::allgather_", c10::kCUDA), MemoryOrder::kAny);
}

TEST(BackendRules, MemoryOrderOfATensor) {
  const at::Tensor x = at::zeros({4, 6});
  const at::Tensor columns = x.slice(1, 0, 6, 2);
  const at::Tensor pictures = at::zeros({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(has_memory_order(x, MemoryOrder::kContiguous));
  EXPECT_TRUE(has_memory_order(pictures, MemoryOrder::kContiguous));
  EXPECT_FALSE(has_memory_order(x.t(), MemoryOrder::kContiguous));
  EXPECT_TRUE(has_memory_order(x.t(), MemoryOrder::kDense));
  EXPECT_FALSE(has_memory_order(columns, MemoryOrder::kDense));
  EXPECT_FALSE(has_memory_order(at::zeros({1}).expand({4}), MemoryOrder::kDense));
  EXPECT_TRUE(has_memory_order(columns, MemoryOrder::kAny));
  EXPECT_TRUE(has_memory_order(x.to_sparse(), MemoryOrder::kContiguous));
}

TEST(BackendRules, DtypesThatNoBackendTakes) {
  const auto takes = [](c10::ScalarType dtype) {
    return takes_dtype(CollectiveKind::kAllGather, dtype, c10::kCPU);
  };
  EXPECT_FALSE(takes(c10::kShort));
  EXPECT_FALSE(takes(c10::kUInt16));
  EXPECT_TRUE(takes(c10::kFloat8_e4m3fn));
  EXPECT_TRUE(takes(c10::kComplexFloat));
}

TEST(BackendRules, MessagesAreOfAnyDtype) {
  for (const auto kind : {CollectiveKind::kSend, CollectiveKind::kReceive}) {
    EXPECT_TRUE(takes_dtype(kind, c10::kShort, c10::kCPU));
    EXPECT_TRUE(takes_dtype(kind, c10::kUInt64, c10::kCPU));
  }
}

}  // namespace
}  // namespace polyrank
