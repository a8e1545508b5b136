#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor_impl.h>

#include <array>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const LocalTensorImpl& impl_of(const at::Tensor& tensor) { return *LocalTensorImpl::from(tensor); }

// The invariants of LocalTensorImpl, by their numbers.
void check_invariants(const at::Tensor& tensor) {
  const LocalTensorImpl& impl = impl_of(tensor);
  const CohortTensors& own = impl.cohort_tensors();
  EXPECT_EQ(own.partition,
            meet(impl.local_storage().partition(), impl.geometry_partition()));  // (1)
  ASSERT_EQ(own.tensors.size(), static_cast<std::size_t>(own.partition.num_cohorts()));
  EXPECT_EQ(own.generation, impl.local_storage().generation());
  for (std::int32_t cohort = 0; cohort < own.partition.num_cohorts(); ++cohort) {
    const at::Tensor& plain = own.tensors[static_cast<std::size_t>(cohort)];
    EXPECT_EQ(plain.dtype(), tensor.dtype());  // (2)
    EXPECT_EQ(plain.device(), tensor.device());
    EXPECT_EQ(plain.dim(), tensor.dim());
    EXPECT_FALSE(plain.requires_grad());
    const c10::Storage& memory =
        impl.local_storage().storage_on_rank(own.partition.lowest_rank(cohort));
    EXPECT_EQ(plain.storage().unsafeGetStorageImpl(), memory.unsafeGetStorageImpl());
  }
}

TEST(LocalTensorImpl, KnowsItsOwn) {
  EXPECT_NE(LocalTensorImpl::from(replicated({1}, 2)), nullptr);
  EXPECT_EQ(LocalTensorImpl::from(at::ones({1})), nullptr);
  EXPECT_EQ(LocalTensorImpl::from(at::Tensor()), nullptr);
}

TEST(LocalTensorImpl, ViewsSeeASplitOfTheirStorage) {
  const at::Tensor base = replicated({1, 2, 3, 4}, 3);
  const at::Tensor view = base.view({2, 2}).select(0, 1);
  EXPECT_EQ(impl_of(view).cohort_tensors().tensors.size(), 1U);
  view.mul_(local_tensor({{1, 1}, {2, 2}, {1, 1}}));
  for (const at::Tensor& tensor : {base, view}) {
    check_invariants(tensor);
    EXPECT_EQ(num_cohorts(tensor), 3U);  // equal numbers are no proof that ranks hold the same
  }
  EXPECT_THAT(values_on_rank(base, 1), ElementsAre(1, 2, 6, 8));
  EXPECT_THAT(values_on_rank(base, 2), ElementsAre(1, 2, 3, 4));
}

TEST(LocalTensorImpl, HasSizesThatDifferAsNumbersOfRanks) {
  const at::Tensor uneven = local_tensor({{1, 2, 3}, {4}, {5, 6, 7}});
  check_invariants(uneven);
  EXPECT_FALSE(impl_of(uneven).has_uniform_geometry());
  const c10::SymInt size = uneven.sym_size(0);
  const LocalIntNode* const node = as_local_int(size);
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->value(node->partition().cohort_of(0)), 3);
  EXPECT_EQ(node->value(node->partition().cohort_of(1)), 1);
  EXPECT_EQ(as_local_int(uneven.sym_numel()) != nullptr, true);
  EXPECT_EQ(uneven.dim(), 1);
  EXPECT_THAT([&] { static_cast<void>(uneven.sizes()); },
              ThrowsMessage<DivergenceError>(HasSubstr("whose shape differs between ranks")));
}

TEST(LocalTensorImpl, HasOneGeometryWhereAllRanksHaveIt) {
  const at::Tensor even = local_tensor({{1, 2}, {3, 4}});
  EXPECT_TRUE(impl_of(even).has_uniform_geometry());
  EXPECT_THAT(even.sizes(), ElementsAre(2));
  EXPECT_EQ(as_local_int(even.sym_size(0)), nullptr);
  EXPECT_TRUE(even.is_contiguous());
  EXPECT_FALSE(even.view({1, 2}).expand({3, 2}).is_contiguous());
}

TEST(LocalTensorImpl, CoversItsStorageOrAPartOfIt) {
  const at::Tensor base = replicated({1, 2, 3, 4}, 2);
  EXPECT_TRUE(impl_of(base).covers_storage());
  EXPECT_TRUE(impl_of(base.view({2, 2})).covers_storage());
  EXPECT_FALSE(impl_of(base.narrow(0, 1, 3)).covers_storage());
}

TEST(LocalTensorImpl, TakesOverGeometryThatAnOperatorChanged) {
  const at::Tensor base = replicated({1, 2, 3, 4}, 2);
  const at::Tensor other = base.detach();
  base.unsqueeze_(0);
  EXPECT_THAT(base.sizes(), ElementsAre(1, 4));
  EXPECT_THAT(other.sizes(), ElementsAre(4));
  base.resize_({2, 1});
  EXPECT_THAT(on_rank(base, 1).sizes(), ElementsAre(2, 1));
  check_invariants(base);
  check_invariants(other);
}

TEST(LocalTensorImpl, DetachesWithTheSameMemory) {
  const at::Tensor base = local_tensor({{1, 2}, {3, 4}}).requires_grad_();
  const at::Tensor detached = base.detach();
  EXPECT_FALSE(detached.requires_grad());
  EXPECT_EQ(impl_of(base).local_storage_ptr(), impl_of(detached).local_storage_ptr());
  const at::Tensor kept = at::zeros_like(detached);
  kept.unsafeGetTensorImpl()->shallow_copy_from(detached.getIntrusivePtr());
  detached.add_(1);
  EXPECT_THAT(values_on_rank(kept, 1), ElementsAre(4, 5));
}

TEST(LocalTensorImpl, RefusesTensorsOfSeveralKinds) {
  const auto storage = LocalStorage::make(RankPartition::identity(RankSet::first(2)),
                                          {at::ones({2}).storage(), at::ones({2}).storage()});
  EXPECT_THAT(
      [&] {
        LocalTensorImpl::make(storage, RankPartition::identity(RankSet::first(2)),
                              {at::ones({2}), at::ones({1, 2})});
      },
      ThrowsMessage<DivergenceError>(HasSubstr("number of dimensions")));
}

}  // namespace
}  // namespace polyrank
