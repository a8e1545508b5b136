#include <gtest/gtest.h>
#include <polyrank/collective/charged_tensors.h>

namespace polyrank {
namespace {

std::string_view charged(std::string_view op_name) {
  return to_string(charged_tensors(*find_collective(op_name)));
}

TEST(ChargedTensors, AreThoseThatPyTorchAddsUp) {
  EXPECT_EQ(charged("c10d::allreduce_"), "inputs");
  EXPECT_EQ(charged("c10d::allgather_"), "outputs");
  EXPECT_EQ(charged("c10d::reduce_scatter_"), "inputs");
  EXPECT_EQ(charged("c10d::alltoall_base_"), "larger");
  EXPECT_EQ(charged("c10d::recv_"), "inputs");
  EXPECT_EQ(charged("_c10d_functional::all_to_all_single"), "both");
  EXPECT_EQ(charged("_c10d_functional::reduce_scatter_tensor"), "inputs");
  EXPECT_EQ(charged("_c10d_functional::reduce_scatter_tensor_coalesced"), "outputs");
  EXPECT_EQ(charged("c10d::barrier"), "none");
  EXPECT_EQ(charged("_c10d_functional::wait_tensor"), "none");
}

TEST(ChargedTensors, AreThereForEachLaunchOfTensors) {
  for (const CollectiveSpec& spec : collective_table()) {
    const bool moves_tensors =
        spec.inputs.packing != Packing::kNone && spec.kind != CollectiveKind::kWait;
    EXPECT_EQ(charged_tensors(spec) != ChargedTensors::kNone, moves_tensors) << spec.op_name;
  }
}

}  // namespace
}  // namespace polyrank
