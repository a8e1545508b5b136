#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/written_versions.h>

#include <vector>

namespace polyrank {
namespace {

using Tensors = std::vector<at::Tensor>;

// How often autograd is told that the output was written.
std::int64_t versions_of(const char* op_name) {
  const at::Tensor input = at::empty({2});
  const at::Tensor output = at::empty({2});
  CollectiveCall call;
  call.spec = find_collective(op_name);
  call.units = {CollectiveUnit{.inputs = Tensors{input}, .outputs = Tensors{output}}};
  count_written_versions(call);
  EXPECT_EQ(input._version(), 0);
  return output._version();
}

TEST(WrittenVersions, AreCountedWhereGlooCopies) {
  for (const char* const name :
       {"c10d::allgather_", "c10d::_allgather_base_", "c10d::reduce_scatter_",
        "c10d::_reduce_scatter_base_", "c10d::gather_", "c10d::alltoall_",
        "c10d::allreduce_coalesced_"}) {
    EXPECT_EQ(versions_of(name), 1) << name;
  }
}

TEST(WrittenVersions, AreNotCountedWhereNoBackendDoes) {
  for (const char* const name : {"c10d::allreduce_", "c10d::broadcast_", "c10d::reduce_",
                                 "c10d::scatter_", "c10d::alltoall_base_", "c10d::recv_"}) {
    EXPECT_EQ(versions_of(name), 0) << name;
  }
}

TEST(WrittenVersions, ATensorOfInferenceHasNone) {
  const c10::InferenceMode inference;
  CollectiveCall call;
  call.spec = find_collective("c10d::_allgather_base_");
  call.units = {
      CollectiveUnit{.inputs = Tensors{at::ones({2})}, .outputs = Tensors{at::ones({2})}}};
  EXPECT_NO_THROW(count_written_versions(call));
}

}  // namespace
}  // namespace polyrank
