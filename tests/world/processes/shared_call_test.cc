#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/shared_memory/arena.h>
#include <polyrank/world/processes/shared_call.h>

namespace polyrank {
namespace {

TEST(SharedCallTest, TensorsComeBackAsTheyWere) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const at::Tensor x = at::arange(12, at::kFloat).reshape({3, 4});
  for (const at::Tensor& tensor :
       {x, x.t(), x[1], x.to(at::kBFloat16), x.to(at::kLong), at::ones({}), at::ones({0, 3})}) {
    const SharedTensor shared = share(tensor);
    EXPECT_TRUE(arena.contains(shared.values));
    const at::Tensor back = tensor_of(shared);
    EXPECT_TRUE(back.equal(tensor));
    EXPECT_EQ(back.scalar_type(), tensor.scalar_type());
    EXPECT_EQ(share_values_of(shared).values, shared.values);
  }
  const at::Tensor complex = at::complex(x, x).conj();
  EXPECT_TRUE(tensor_of(share(complex)).equal(complex));
}

TEST(SharedCallTest, TensorsWithoutValuesKeepTheirShape) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const at::Tensor meta = at::empty({2, 3}, at::TensorOptions(at::kHalf).device(at::kMeta));
  const at::Tensor back = tensor_of(share(meta));
  EXPECT_TRUE(back.is_meta());
  EXPECT_EQ(back.sizes(), meta.sizes());
  EXPECT_EQ(back.scalar_type(), at::kHalf);
  EXPECT_TRUE(tensor_of(share(at::ones({2}), /*with_values=*/false)).is_meta());
}

TEST(SharedCallTest, ACallKeepsWhatExchangeReads) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  CollectiveCall call;
  call.spec = find_collective("c10d::alltoall_base_");
  call.output_split_sizes = {1, 2};
  call.input_split_sizes = {3, 0};
  call.units = {{{at::ones({3})}, {at::zeros({3})}}};
  const CollectiveCall back = call_of(*share_call(call, 0));
  EXPECT_EQ(back.spec, call.spec);
  EXPECT_EQ(back.output_split_sizes, call.output_split_sizes);
  EXPECT_EQ(back.input_split_sizes, call.input_split_sizes);
  EXPECT_TRUE(back.units.front().inputs.front().equal(at::ones({3})));
  EXPECT_TRUE(back.units.front().outputs.front().is_meta());
}

TEST(SharedCallTest, AFactorIsMultipliedInAndWhatNobodyReadsStays) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  CollectiveCall call;
  call.spec = find_collective("c10d::allreduce_");
  call.reduce_op = ReduceOp::kPremulSum;
  call.premul_factor = at::full({}, 3.0);
  call.units = {{{at::ones({2})}, {}}};
  EXPECT_TRUE(call_of(*share_call(call, 1)).units.front().inputs.front().equal(at::full({2}, 3.0)));
  call = {};
  call.spec = find_collective("c10d::broadcast_");
  call.units = {{{at::ones({2})}, {}}};
  EXPECT_TRUE(call_of(*share_call(call, 1)).units.front().inputs.front().is_meta());
  EXPECT_FALSE(call_of(*share_call(call, 0)).units.front().inputs.front().is_meta());
}

TEST(SharedCallTest, SparseTensorsComeAsTheyAre) {
  Arena arena;
  const BoardMemoryScope scope(&arena);
  const at::Tensor sparse = at::eye(3).to_sparse();
  const at::Tensor back = tensor_of(share(sparse));
  EXPECT_TRUE(back.is_sparse());
  EXPECT_TRUE(back.is_coalesced());
  EXPECT_TRUE(back.to_dense().equal(at::eye(3)));
  EXPECT_THROW(share(at::eye(3).to_sparse_csr()), UnsupportedOpError);
}

}  // namespace
}  // namespace polyrank
