#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <operators.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/results.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// The results of one call of aten::add on `self` and itself, whose cohorts are self's.
class ResultsTest : public ::testing::Test {
 protected:
  c10::IValue combine(const std::vector<c10::IValue>& values) {
    return ResultCombiner(op_, info_, operands_, partition_).combine(values);
  }
  const at::Tensor& of_cohort(std::size_t cohort) const {
    return LocalTensorImpl::from(self_)->cohort_tensors().tensors[cohort];
  }

  const at::Tensor self_ = local_tensor({{1, 2}, {3, 4}});
  const c10::OperatorHandle op_ = find_operator("aten::add", "Tensor");
  const OperatorInfo info_{op_};
  const torch::jit::Stack stack_ = stack_of(self_, self_, 1);
  Operands operands_{info_, stack_};
  const RankPartition partition_ = RankPartition::identity(RankSet::first(2));
};

TEST_F(ResultsTest, NewTensorsBecomeALocalTensor) {
  const at::Tensor combined = combine({at::ones({2}), at::zeros({2})}).toTensor();
  EXPECT_THAT(values_on_rank(combined, 0), ElementsAre(1, 1));
  EXPECT_THAT(values_on_rank(combined, 1), ElementsAre(0, 0));
  EXPECT_NE(LocalTensorImpl::from(combined)->local_storage_ptr(),
            LocalTensorImpl::from(self_)->local_storage_ptr());
}

TEST_F(ResultsTest, ViewsOfAnOperandJoinItsStorage) {
  const at::Tensor view =
      combine({of_cohort(0).narrow(0, 1, 1), of_cohort(1).narrow(0, 1, 1)}).toTensor();
  EXPECT_EQ(LocalTensorImpl::from(view)->local_storage_ptr(),
            LocalTensorImpl::from(self_)->local_storage_ptr());
  view.add_(10);
  EXPECT_THAT(values_on_rank(self_, 1), ElementsAre(3, 14));
}

TEST_F(ResultsTest, TheOperandItselfComesBackAsItIs) {
  EXPECT_TRUE(combine({of_cohort(0), of_cohort(1)}).toTensor().is_same(self_));
}

TEST_F(ResultsTest, WhereOnlySomeAliasThoseRanksNeverGoStale) {
  const at::Tensor mixed = combine({of_cohort(0).narrow(0, 0, 1), at::full({1}, 9.0)}).toTensor();
  mixed.add_(10);
  EXPECT_THAT(values_on_rank(self_, 0), ElementsAre(11, 2));
  EXPECT_THAT(values_on_rank(self_, 1), ElementsAre(3, 4));
  EXPECT_THAT(values_on_rank(mixed, 1), ElementsAre(19));
}

TEST_F(ResultsTest, IntsThatDifferAreNumbersOfRanks) {
  EXPECT_EQ(combine({5, 5}).toInt(), 5);
  const c10::SymInt number = combine({5, 7}).toSymInt();
  const LocalIntNode* const node = as_local_int(number);
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->value(1), 7);
}

TEST_F(ResultsTest, AnythingElseMustAgree) {
  EXPECT_TRUE(combine({true, true}).toBool());
  EXPECT_THAT([&] { combine({true, false}); },
              ThrowsMessage<DivergenceError>(
                  AllOf(HasSubstr("aten::add"), HasSubstr("rank 0"), HasSubstr("rank 1"))));
  EXPECT_THROW(combine({1.0, 2.0}), DivergenceError);
  EXPECT_TRUE(combine({c10::IValue(), c10::IValue()}).isNone());
}

TEST_F(ResultsTest, ListsAreCombinedByPosition) {
  const std::vector<at::Tensor> of_first{at::ones({1}), at::zeros({1})};
  const std::vector<at::Tensor> of_other{at::ones({1}), at::ones({1})};
  const std::vector<at::Tensor> combined = combine({of_first, of_other}).toTensorVector();
  ASSERT_EQ(combined.size(), 2U);
  EXPECT_THAT(values_on_rank(combined[1], 0), ElementsAre(0));
  EXPECT_THAT(values_on_rank(combined[1], 1), ElementsAre(1));
  EXPECT_THAT([&] { combine({of_first, std::vector<at::Tensor>{at::ones({1})}}); },
              ThrowsMessage<DivergenceError>(HasSubstr("lists of different lengths")));
}

TEST_F(ResultsTest, ResultsOfOneCallMayShareMemory) {
  const at::Tensor first = at::ones({2});
  const at::Tensor other = at::zeros({2});
  ResultCombiner combiner(op_, info_, operands_, partition_);
  const at::Tensor whole = combiner.combine({first, other}).toTensor();
  const at::Tensor part =
      combiner.combine({first.narrow(0, 0, 1), other.narrow(0, 0, 1)}).toTensor();
  part.add_(4);
  EXPECT_THAT(values_on_rank(whole, 1), ElementsAre(4, 0));
}

}  // namespace
}  // namespace polyrank
