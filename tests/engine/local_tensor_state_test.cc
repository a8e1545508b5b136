#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_tensor_state.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(LocalTensorState, TensorsThatShareMemoryHaveOneStorage) {
  const at::Tensor base = local_tensor({{1, 2}, {3, 4}});
  EXPECT_EQ(storage_of(base), storage_of(base.narrow(0, 1, 1)));
  EXPECT_NE(storage_of(base), storage_of(base.clone()));
  EXPECT_THROW(storage_of(at::ones({1})), UsageError);
}

TEST(LocalTensorState, MakesTheSameTensorOfItsParts) {
  for (const at::Tensor& whole : {local_tensor({{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}),
                                  replicated({1, 2, 3}, 3), local_tensor({{1, 2}, {3}, {4, 5}})}) {
    const at::Tensor part = whole.slice(0, 1);
    const auto [cohorts, storages] = storage_state(*storage_of(part));
    const auto storage = make_storage(cohorts, storages);
    const auto [ranks, geometries] = geometry_of(part);
    const at::Tensor again = tensor_on_storage(storage, at::kFloat, ranks, geometries);
    for (std::int64_t rank = 0; rank < 3; ++rank) {
      EXPECT_EQ(values_on_rank(again, rank), values_on_rank(part, rank));
    }
    EXPECT_EQ(num_cohorts(again), num_cohorts(part));
  }
}

TEST(LocalTensorState, RefusesPartsThatDoNotFit) {
  const c10::Storage memory = at::ones({2}).storage();
  EXPECT_THROW(make_storage({{0, 1}, {1}}, {memory, memory}), UsageError);
  EXPECT_THROW(make_storage({{0}, {1}}, {memory}), UsageError);
  const auto storage = make_storage({{0, 1}}, {memory});
  EXPECT_THROW(tensor_on_storage(storage, at::kFloat, {{0, 2}}, {{{2}, {1}, 0}}), UsageError);
}

TEST(LocalTensorState, ARanksTensorOfTheSameShapeIsCopiedIntoItsMemory) {
  const at::Tensor base = replicated({1, 2}, 3);
  const at::Tensor view = base.view({2, 1});
  put_rank(base, 1, at::tensor({8.0F, 9.0F}));
  EXPECT_THAT(values_on_rank(view, 1), ElementsAre(8, 9));
  EXPECT_THAT(values_on_rank(view, 2), ElementsAre(1, 2));
}

TEST(LocalTensorState, ARanksTensorOfAnotherShapeIsNewMemory) {
  const at::Tensor base = replicated({1, 2}, 2);
  const at::Tensor view = base.view({2, 1});
  put_rank(base, 1, at::tensor({7.0F}));
  EXPECT_THAT(values_on_rank(base, 1), ElementsAre(7));
  EXPECT_THAT(values_on_rank(base, 0), ElementsAre(1, 2));
  EXPECT_THAT(values_on_rank(view, 1), ElementsAre(1, 2));
  EXPECT_THAT([&] { put_rank(base, 5, at::tensor({7.0F})); },
              ThrowsMessage<UsageError>(HasSubstr("rank 5")));
  EXPECT_THROW(put_rank(base, 0, at::ones({2}, at::kDouble)), UsageError);
}

}  // namespace
}  // namespace polyrank
