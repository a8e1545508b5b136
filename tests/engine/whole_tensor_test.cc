#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/whole_tensor.h>

#include <vector>

namespace polyrank {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// Rank r holds a diagonal of r + 1; with `alike`, all ranks hold that of 1.
at::Tensor diagonals(std::int64_t num_ranks, bool alike = false) {
  std::vector<std::pair<std::int64_t, at::Tensor>> tensors;
  const at::Tensor one = at::eye(3).to_sparse();
  tensors.reserve(static_cast<std::size_t>(num_ranks));
  for (std::int64_t rank = 0; rank < num_ranks; ++rank) {
    tensors.emplace_back(rank, alike ? one : at::mul(at::eye(3), rank + 1).to_sparse());
  }
  return make_local_tensor(tensors);
}

TEST(WholeTensor, KnowsWhatIsStridedAndWhatCanBeKept) {
  const at::Tensor dense = at::eye(3);
  EXPECT_TRUE(is_strided(dense));
  EXPECT_FALSE(can_be_whole(dense));
  const at::Tensor sparse = dense.to_sparse();
  EXPECT_FALSE(is_strided(sparse));
  EXPECT_TRUE(can_be_whole(sparse));
  EXPECT_EQ(storage_behind(sparse).nbytes(), 0);
  EXPECT_FALSE(can_be_whole(dense.to_sparse_csr()));
  EXPECT_EQ(storage_behind(dense).unsafeGetStorageImpl(), dense.storage().unsafeGetStorageImpl());
}

TEST(WholeTensor, CountsIndicesAndValues) {
  EXPECT_EQ(nbytes_of(at::eye(3)), 9 * 4);
  EXPECT_EQ(nbytes_of(at::eye(3).to_sparse()), 3 * 4 + 2 * 3 * 8);
}

TEST(WholeTensor, EachRankComputesWithItsOwn) {
  const at::Tensor sparse = diagonals(4);
  EXPECT_TRUE(sparse.is_sparse());
  const at::Tensor dense = at::add(sparse, sparse).to_dense();
  for (std::int64_t rank = 0; rank < 4; ++rank) {
    EXPECT_TRUE(at::equal(on_rank(dense, rank), at::mul(at::eye(3), 2 * (rank + 1))));
  }
}

TEST(WholeTensor, IsOneCohortWhereRanksHoldTheSame) {
  const at::Tensor sparse = diagonals(1000, /*alike=*/true);
  EXPECT_EQ(cohorts(at::mul(sparse, 2)).size(), 1);
  EXPECT_TRUE(at::equal(reconcile(sparse).to_dense(), at::eye(3)));
}

TEST(WholeTensor, IsWrittenInPlaceAsLongAsRanksStayAlike) {
  const at::Tensor sparse = diagonals(4, /*alike=*/true);
  const at::Tensor other = sparse.detach();
  sparse._values().mul_(3);
  for (const at::Tensor& tensor : {sparse, other}) {
    EXPECT_TRUE(at::equal(on_rank(tensor, 2).to_dense(), at::mul(at::eye(3), 3)));
  }
}

TEST(WholeTensor, RefusesToBeWrittenWithWhatDiffers) {
  const at::Tensor sparse = diagonals(4, /*alike=*/true);
  const auto refused =
      ThrowsMessage<UnsupportedOpError>(HasSubstr("written with values that differ between ranks"));
  EXPECT_THAT([&] { sparse.add_(diagonals(4)); }, refused);
  // What it shares its memory with is refused, too, and a rank that would be handed out.
  const at::Tensor values = sparse._values();
  std::vector<std::pair<std::int64_t, at::Tensor>> factors;
  factors.reserve(4);
  for (std::int64_t rank = 0; rank < 4; ++rank) {
    factors.emplace_back(rank, at::full({3}, static_cast<double>(rank)));
  }
  EXPECT_THAT([&] { values.mul_(make_local_tensor(factors)); }, refused);
  EXPECT_THAT([&] { take_rank(sparse, 1); }, refused);
  EXPECT_TRUE(at::equal(on_rank(sparse, 3).to_dense(), at::eye(3)));
}

TEST(WholeTensor, WhatIsLookedAtIsACopy) {
  const at::Tensor sparse = diagonals(2);
  on_rank(sparse, 0).mul_(7);
  EXPECT_TRUE(at::equal(on_rank(sparse, 0).to_dense(), at::eye(3)));
}

TEST(WholeTensor, RanksOfOneLayoutOnly) {
  EXPECT_THAT([] { make_local_tensor({{0, at::eye(2).to_sparse()}, {1, at::eye(2)}}); },
              ThrowsMessage<UsageError>(HasSubstr("layout")));
}

}  // namespace
}  // namespace polyrank
