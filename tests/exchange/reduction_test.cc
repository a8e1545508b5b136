#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/reduction.h>

#include <cmath>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

at::Tensor folded(ReduceOp op, const std::vector<at::Tensor>& members) {
  return fold_members(op, members);
}

TEST(FoldMembers, AppliesEachReduceOp) {
  const std::vector<at::Tensor> members = {at::tensor({6, 1, 3}), at::tensor({2, 7, 3}),
                                           at::tensor({4, 5, 1})};
  EXPECT_TRUE(folded(ReduceOp::kSum, members).equal(at::tensor({12, 13, 7})));
  EXPECT_TRUE(folded(ReduceOp::kProduct, members).equal(at::tensor({48, 35, 9})));
  EXPECT_TRUE(folded(ReduceOp::kMin, members).equal(at::tensor({2, 1, 1})));
  EXPECT_TRUE(folded(ReduceOp::kMax, members).equal(at::tensor({6, 7, 3})));
  EXPECT_TRUE(folded(ReduceOp::kBand, members).equal(at::tensor({0, 1, 1})));
  EXPECT_TRUE(folded(ReduceOp::kBor, members).equal(at::tensor({6, 7, 3})));
  EXPECT_TRUE(folded(ReduceOp::kBxor, members).equal(at::tensor({0, 3, 1})));
}

TEST(FoldMembers, AddsInTheOrderOfTheMembersInTheirDtype) {
  // 2^24 + 1 + 1 rounds to 2^24 step by step, and 1 + 1 + 2^24 to 2^24 + 2.
  const at::Tensor big = at::tensor({16777216.0F});
  const at::Tensor one = at::tensor({1.0F});
  EXPECT_EQ(folded(ReduceOp::kSum, {big, one, one}).item<float>(), 16777216.0F);
  EXPECT_EQ(folded(ReduceOp::kSum, {one, one, big}).item<float>(), 16777218.0F);
  const at::Tensor half = at::tensor({256.0F}).to(at::kBFloat16);
  const at::Tensor unit = at::tensor({1.0F}).to(at::kBFloat16);
  EXPECT_EQ(folded(ReduceOp::kSum, {half, unit, unit}).item<float>(), 256.0F);
}

TEST(FoldMembers, AddsAValueOnceForEachMemberThatHoldsIt) {
  const at::Tensor shared = at::tensor({1.5F});
  EXPECT_EQ(folded(ReduceOp::kSum, {shared, shared, shared}).item<float>(), 4.5F);
  EXPECT_EQ(folded(ReduceOp::kMax, {shared, shared, shared}).item<float>(), 1.5F);
  EXPECT_EQ(shared.item<float>(), 1.5F);
}

TEST(FoldMembers, RoundsEachStepAlsoWhereManyMembersHoldOneTensor) {
  for (const c10::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const at::Tensor shared = (at::arange(200) * 0.1 + 0.3).to(dtype);
    const at::Tensor other = (at::arange(200) * 0.7 + 0.1).to(dtype);
    std::vector<at::Tensor> members(20, shared);
    members.push_back(other);
    members.insert(members.end(), 5, shared);
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kProduct}) {
      at::Tensor expected = shared.clone();
      for (std::size_t i = 1; i < members.size(); ++i) {
        expected = op == ReduceOp::kSum ? expected + members[i] : expected * members[i];
      }
      EXPECT_TRUE(folded(op, members).equal(expected)) << dtype << to_string(op);
    }
  }
}

TEST(FoldMembers, AveragesIntegersTowardsZero) {
  EXPECT_EQ(folded(ReduceOp::kAvg, {at::tensor({-3}), at::tensor({-4})}).item<int>(), -3);
  EXPECT_EQ(folded(ReduceOp::kAvg, {at::tensor({3.0}), at::tensor({4.0})}).item<double>(), 3.5);
}

class TreeOrder : public ::testing::Test {
 protected:
  ReductionOrderGuard tree_{ReductionOrder::kTree};
};

TEST_F(TreeOrder, AddsNeighboursFirst) {
  // (2^24 + 1) + (1 + 1) rounds to 2^24 + 2, where one by one rounds to 2^24.
  const at::Tensor big = at::tensor({16777216.0F});
  const at::Tensor one = at::tensor({1.0F});
  EXPECT_EQ(folded(ReduceOp::kSum, {big, one, one, one}).item<float>(), 16777218.0F);
  EXPECT_EQ(folded(ReduceOp::kAvg, {big, one, one, one}).item<float>(), 16777218.0F / 4);
  set_reduction_order(ReductionOrder::kRank);
  EXPECT_EQ(folded(ReduceOp::kSum, {big, one, one, one}).item<float>(), 16777216.0F);
}

TEST_F(TreeOrder, LetsALastOneWaitAndLeavesTheMembersAlone) {
  for (std::int64_t size = 1; size <= 9; ++size) {
    std::vector<at::Tensor> members;
    members.reserve(static_cast<std::size_t>(size));
    for (std::int64_t rank = 0; rank < size; ++rank) {
      members.push_back(at::full({3}, rank + 1));
    }
    EXPECT_TRUE(folded(ReduceOp::kSum, members).equal(at::full({3}, size * (size + 1) / 2)));
    EXPECT_TRUE(folded(ReduceOp::kMax, members).equal(at::full({3}, size)));
    EXPECT_TRUE(members.front().equal(at::full({3}, 1)));
    EXPECT_TRUE(members.back().equal(at::full({3}, size)));
  }
}

TEST_F(TreeOrder, AddsAValueOnceForEachMemberThatHoldsIt) {
  const std::vector<at::Tensor> members(1'000'003, at::tensor({1}));
  EXPECT_EQ(folded(ReduceOp::kSum, members).item<int>(), 1'000'003);
}

TEST(ReductionOrderGuard, PutsTheOrderBack) {
  {
    ReductionAlgorithm ring = ReductionOrder::kNcclRing;
    ring.num_channels = 4;
    const ReductionOrderGuard guard(ring);
    EXPECT_EQ(reduction_order(), ring);
  }
  EXPECT_EQ(reduction_order(), ReductionAlgorithm());
}

// What fold_parts() says, number by number.
at::Tensor folded_by_hand(const std::vector<at::Tensor>& members,
                          const ReductionAlgorithm& algorithm) {
  const std::int64_t numel = members.front().numel();
  std::vector<std::vector<float>> sums;
  for (const at::Tensor& member : members) {
    const at::Tensor flat = member.reshape({-1}).contiguous();
    sums.emplace_back(flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + numel);
  }
  at::Tensor total = at::empty({numel});
  for (const FoldPart& part : fold_parts(algorithm, {.total = numel, .length = numel},
                                         static_cast<std::int64_t>(members.size()))) {
    for (std::int64_t i = part.begin; i < part.end; ++i) {
      const auto element = static_cast<std::size_t>(i);
      for (const FoldStep& step : part.steps) {
        sums[static_cast<std::size_t>(step.into)][element] +=
            sums[static_cast<std::size_t>(step.from)][element];
      }
      total.mutable_data_ptr<float>()[i] = sums[static_cast<std::size_t>(part.result)][element];
    }
  }
  return total.reshape(members.front().sizes());
}

TEST(FoldMembers, FoldsInTheOrderThatIsSet) {
  at::manual_seed(3);
  for (const ReductionOrder order : {ReductionOrder::kGloo, ReductionOrder::kNcclRing,
                                     ReductionOrder::kNcclTree, ReductionOrder::kHalvingDoubling}) {
    const ReductionOrderGuard guard(order);
    for (std::int64_t size = 1; size <= 9; ++size) {
      std::vector<at::Tensor> members;
      for (std::int64_t member = 0; member < size; ++member) {
        members.push_back(at::randn({7, 9}));
      }
      members.push_back(members.front());  // as equal ranks share a tensor
      const at::Tensor before = members.front().clone();
      EXPECT_TRUE(folded(ReduceOp::kSum, members).equal(folded_by_hand(members, order)));
      EXPECT_TRUE(members.front().equal(before));
      // What is the same in any order.
      EXPECT_TRUE(folded(ReduceOp::kMax, members).equal(at::stack(members).amax(0)));
    }
  }
}

TEST(FoldMembers, RoundsOnceInExactOrder) {
  const ReductionOrderGuard guard(ReductionOrder::kExact);
  const at::Tensor big = at::tensor({16777216.0F});
  const at::Tensor one = at::tensor({1.0F});
  EXPECT_EQ(folded(ReduceOp::kSum, {big, one, one, -big}).item<float>(), 2);
  EXPECT_EQ(folded(ReduceOp::kAvg, {big, one, one, -big}).item<float>(), 0.5F);
  EXPECT_EQ(folded(ReduceOp::kProduct, {big, one}).item<float>(), 16777216.0F);
}

TEST(FoldMembers, AveragesAsNcclDoes) {
  const at::Tensor x = at::tensor({1.0F, 5.0F, 1e-3F});
  const std::vector<at::Tensor> members = {x, x * 3, x * 7};
  const ReductionOrderGuard guard(ReductionOrder::kNcclRing);
  const at::Tensor third = at::tensor({1.0F / 3});
  const at::Tensor expected =
      folded(ReduceOp::kSum, {members[0] * third, members[1] * third, members[2] * third});
  EXPECT_TRUE(folded(ReduceOp::kAvg, members).equal(expected));
  EXPECT_EQ(folded(ReduceOp::kAvg, {at::tensor({-3}), at::tensor({-4})}).item<int>(), -3);
}

TEST(FoldMembers, TakesMembersOfOneSizeWhateverTheirShape) {
  const at::Tensor total =
      folded(ReduceOp::kSum, {at::ones({2, 3}), at::ones({6}), at::ones({3, 2}).t()});
  EXPECT_TRUE(total.equal(at::full({2, 3}, 3.0)));
  EXPECT_EQ(folded(ReduceOp::kSum, {at::ones({0}), at::ones({0})}).numel(), 0);
}

TEST(FoldMembers, OfTensorsWithoutValuesGivesTheShape) {
  const at::Tensor meta = at::ones({2, 3}, at::kMeta);
  EXPECT_FALSE(holds_values(meta));
  EXPECT_TRUE(holds_values(at::ones({2})));
  const at::Tensor total = folded(ReduceOp::kAvg, std::vector<at::Tensor>(1'000'000, meta));
  EXPECT_TRUE(total.is_meta());
  EXPECT_EQ(total.sizes(), meta.sizes());
}

TEST(FoldMembers, NanIsKeptOrLostAsBackendsDo) {
  const auto member = [](double value) { return at::full({1}, value, at::kFloat); };
  const std::vector<at::Tensor> members = {member(0), member(NAN), member(2)};
  const auto result = [&](ReduceOp op, ReductionOrder order) {
    const ReductionOrderGuard guard(order);
    return fold_members(op, members).item<double>();
  };
  EXPECT_EQ(result(ReduceOp::kMax, ReductionOrder::kNcclRing), 2);
  EXPECT_EQ(result(ReduceOp::kMin, ReductionOrder::kNcclTree), 0);
  EXPECT_EQ(result(ReduceOp::kMax, ReductionOrder::kRank),
            result(ReduceOp::kMax, ReductionOrder::kGloo));
  const MemberTensors equal(std::vector<at::Tensor>(2, member(NAN)));
  EXPECT_TRUE(std::isnan(fold_members(ReduceOp::kMax, equal).item<double>()));
  MemberTensors many;
  many.append(member(1), 1'000'000);
  EXPECT_EQ(fold_members(ReduceOp::kMax, many).item<double>(), 1);
  many.append(member(NAN), 1);
  EXPECT_THAT([&] { fold_members(ReduceOp::kMax, many); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("hold NaN, on 1000001 ranks")));
}

TEST(FoldMembers, RefusesWhatBackendsRefuse) {
  const std::vector<at::Tensor> floats = {at::ones({1}), at::ones({1})};
  EXPECT_THAT([&] { folded(ReduceOp::kBand, floats); },
              ThrowsMessage<CollectiveError>(HasSubstr("works on the bits of integers")));
  EXPECT_THAT([&] { folded(ReduceOp::kMax, {at::ones({1}, at::kComplexFloat)}); },
              ThrowsMessage<CollectiveError>(HasSubstr("does not apply to complex tensors")));
  EXPECT_THAT([&] { folded(ReduceOp::kAvg, {at::ones({1}, at::kBool)}); },
              ThrowsMessage<CollectiveError>(HasSubstr("does not apply to bool tensors")));
  EXPECT_THAT([&] { folded(ReduceOp::kUnused, floats); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("names no operation")));
}

TEST(FoldEqualMembers, GivesTheFoldInOnePass) {
  const at::Tensor x = at::arange(8, at::kFloat) - 3;
  for (const std::int64_t num_members : {1, 2, 3, 7}) {
    const std::vector<at::Tensor> members(static_cast<std::size_t>(num_members), x);
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kAvg, ReduceOp::kProduct, ReduceOp::kMin,
                              ReduceOp::kMax, ReduceOp::kPremulSum}) {
      EXPECT_TRUE(at::equal(fold_equal_members(op, x, num_members), fold_members(op, members)))
          << to_string(op) << num_members;
    }
    for (const c10::ScalarType dtype : {at::kInt, at::kChar, at::kByte, at::kBool}) {
      const at::Tensor ints = at::arange(8, at::kInt).to(dtype);
      const std::vector<at::Tensor> int_members(static_cast<std::size_t>(num_members), ints);
      for (const ReduceOp op :
           {ReduceOp::kSum, ReduceOp::kProduct, ReduceOp::kBand, ReduceOp::kBor, ReduceOp::kBxor}) {
        EXPECT_TRUE(
            at::equal(fold_equal_members(op, ints, num_members), fold_members(op, int_members)))
            << to_string(op) << num_members << dtype;
      }
    }
  }
}

TEST(FoldEqualMembers, AMillionMembersAreOneMultiplication) {
  const at::Tensor sum = fold_equal_members(ReduceOp::kSum, at::full({1}, 100, at::kChar), 1000003);
  EXPECT_EQ(sum.item<std::int64_t>(), static_cast<std::int8_t>(100 * 1000003));
  EXPECT_THROW(fold_equal_members(ReduceOp::kSum, at::ones({1}), 0), UsageError);
}

TEST(FoldMembers, SaysWherePyTorchHasNoKernel) {
  for (const at::ScalarType dtype : {at::kFloat8_e4m3fn, at::kUInt16}) {
    const at::Tensor member = at::ones({2}).to(dtype);
    EXPECT_THAT([&] { folded(ReduceOp::kSum, {member, member}); },
                ThrowsMessage<UnsupportedOpError>(HasSubstr("by sum: it has no kernel for that")));
  }
}

}  // namespace
}  // namespace polyrank
