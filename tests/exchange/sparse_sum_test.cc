#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/member_tensors.h>
#include <polyrank/exchange/sparse_sum.h>

#include <cstdint>
#include <vector>

namespace polyrank {
namespace {

at::Tensor sparse(const std::vector<std::int64_t>& indices, const std::vector<float>& values) {
  return at::sparse_coo_tensor(at::tensor(indices).unsqueeze(0), at::tensor(values), {64});
}

at::Tensor sum_of(const std::vector<at::Tensor>& members) {
  return sum_of_sparse(MemberTensors(members));
}

TEST(SumOfSparse, IsCoalescedAlsoOfOneMember) {
  const at::Tensor sum = sum_of({sparse({1, 1, 0}, {1, 2, 3})});
  EXPECT_TRUE(sum.is_coalesced());
  EXPECT_TRUE(sum.indices().equal(at::tensor({std::int64_t{0}, std::int64_t{1}}).unsqueeze(0)));
  EXPECT_TRUE(sum.values().equal(at::tensor({3.0F, 3.0F})));
}

TEST(SumOfSparse, AddsEachMembersOwnEntriesFirst) {
  // 2^24 + (1 + 1) is exact, (2^24 + 1) + 1 rounds twice to 2^24.
  const at::Tensor sum = sum_of({sparse({5}, {16777216}), sparse({5, 5}, {1, 1})});
  EXPECT_EQ(sum.values().item<float>(), 16777218.0F);
}

TEST(SumOfSparse, AddsMembersInTheirOrder) {
  const at::Tensor big = sparse({5}, {16777216});
  const at::Tensor one = sparse({5}, {1});
  EXPECT_EQ(sum_of({big, one, one}).values().item<float>(), 16777216.0F);
  EXPECT_EQ(sum_of({one, one, big}).values().item<float>(), 16777218.0F);
}

TEST(SumOfSparse, IsThatOfDenseTensorsWhereEachMemberHasEachIndexOnce) {
  at::manual_seed(0);
  const at::Tensor indices = at::arange(64).unsqueeze(0);
  std::vector<at::Tensor> members;
  at::Tensor total = at::zeros({64});
  for (int member = 0; member < 9; ++member) {
    const at::Tensor values = at::randn({64});
    members.push_back(at::sparse_coo_tensor(indices, values, {64}));
    total = member == 0 ? values.clone() : total.add(values);
  }
  EXPECT_TRUE(sum_of(members).to_dense().equal(total));
}

TEST(SumOfSparse, LeavesItsMembersAlone) {
  const at::Tensor member = sparse({1, 2}, {1, 2}).coalesce();
  sum_of({member, member, member});
  EXPECT_TRUE(member.values().equal(at::tensor({1.0F, 2.0F})));
}

}  // namespace
}  // namespace polyrank
