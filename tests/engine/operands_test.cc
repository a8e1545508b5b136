#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <operators.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/operands.h>

#include <array>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;

const RankSet kRanks = RankSet::first(4);
const RankPartition kAll = RankPartition::uniform(kRanks);

RankPartition labelled(const std::array<std::int64_t, 4>& labels) {
  return RankPartition::from_labels(kRanks, labels);
}

// Ranks 0 and 1 hold `low`, ranks 2 and 3 `high`.
at::Tensor in_halves(const at::Tensor& low, const at::Tensor& high) {
  return make_local_tensor(labelled({0, 0, 1, 1}), {low, high});
}

class OperandsOf {
 public:
  template <typename... Arguments>
  explicit OperandsOf(const c10::OperatorHandle& op, Arguments&&... arguments)
      : info_(op),
        stack_(stack_of(std::forward<Arguments>(arguments)...)),
        operands(info_, stack_) {}

 private:
  OperatorInfo info_;
  torch::jit::Stack stack_;

 public:
  Operands operands;
};

TEST(ScanOperands, TellsWhatStandsAmongThem) {
  const OperandScan none = scan_operands(stack_of(1, 2.0));
  EXPECT_FALSE(none.has_local || none.has_plain || none.has_fake || none.has_foreign);
  const OperandScan plain = scan_operands(stack_of(at::ones({1})));
  EXPECT_TRUE(plain.has_plain);
  EXPECT_FALSE(plain.has_local);
  const OperandScan mixed =
      scan_operands(stack_of(std::vector<at::Tensor>{at::ones({1}), replicated({1}, 4)}));
  EXPECT_TRUE(mixed.has_plain);
  EXPECT_TRUE(mixed.has_local);
  const c10::SymInt differing =
      make_local_int(labelled({0, 0, 1, 1}), std::array<std::int64_t, 2>{1, 2});
  EXPECT_TRUE(scan_operands(stack_of(differing)).has_local);
}

TEST(Operands, MeetWhatRanksHoldDifferently) {
  const OperandsOf of(find_operator("aten::add", "Tensor"),
                      in_halves(at::ones({2}), at::zeros({2})),
                      make_local_tensor(labelled({0, 1, 1, 0}), {at::ones({2}), at::ones({2})}), 1);
  EXPECT_EQ(*of.operands.ranks(), kRanks);
  EXPECT_EQ(of.operands.locals().size(), 2U);
  EXPECT_EQ(of.operands.meet_all(kAll), labelled({0, 1, 2, 3}));
}

TEST(Operands, AreFilledInAsACohortHasThem) {
  OperandsOf of(find_operator("aten::add", "Tensor"), in_halves(at::ones({2}), at::full({2}, 5.0)),
                at::full({2}, 7.0), 1);
  of.operands.bind(labelled({0, 0, 1, 1}));
  torch::jit::Stack stack;
  of.operands.fill(1, &stack);
  ASSERT_EQ(stack.size(), 3U);
  EXPECT_THAT(values(stack[0].toTensor()), ElementsAre(5, 5));
  EXPECT_THAT(values(stack[1].toTensor()), ElementsAre(7, 7));
  EXPECT_EQ(stack[2].toInt(), 1);
}

TEST(Operands, AreFoundInListsAndFilledInWithThem) {
  OperandsOf of(find_operator("aten::cat"),
                std::vector<at::Tensor>{at::ones({1}), in_halves(at::ones({1}), at::zeros({1}))},
                0);
  EXPECT_EQ(of.operands.plain().size(), 1U);
  of.operands.bind(of.operands.meet_all(kAll));
  torch::jit::Stack stack;
  of.operands.fill(1, &stack);
  EXPECT_THAT(values(stack[0].toTensorVector()[1]), ElementsAre(0));
}

TEST(Operands, OfWhichOnlyTheShapeMattersAreAlikeWhereShapesAre) {
  const at::Tensor alike = in_halves(at::ones({2}), at::zeros({2}));
  const at::Tensor uneven = in_halves(at::ones({2}), at::zeros({3}));
  const auto op = find_operator("aten::zeros_like");
  const auto cohorts_of = [&](const at::Tensor& tensor) {
    const OperandsOf of(op, tensor, c10::IValue(), c10::IValue(), c10::IValue(), c10::IValue(),
                        c10::IValue());
    return of.operands.meet_all(kAll);
  };
  EXPECT_TRUE(cohorts_of(alike).is_uniform());
  EXPECT_EQ(cohorts_of(uneven), labelled({0, 0, 1, 1}));
}

TEST(Operands, ThatAreOverwrittenMayBecomeOneCohort) {
  const at::Tensor target = in_halves(at::ones({2}), at::zeros({2}));
  const auto copy = find_operator("aten::copy_");
  const OperandsOf whole(copy, target, replicated({1, 2}, 4), false);
  EXPECT_TRUE(whole.operands.locals()[0].is_written);
  EXPECT_TRUE(whole.operands.locals()[0].may_merge);
  EXPECT_TRUE(whole.operands.meet_all(kAll).is_uniform());
  const OperandsOf part(copy, target.narrow(0, 0, 1), replicated({1}, 4), false);
  EXPECT_FALSE(part.operands.locals()[0].may_merge);
  EXPECT_EQ(part.operands.meet_all(kAll), labelled({0, 0, 1, 1}));
}

TEST(Operands, TellWhetherAPlainTensorIsWritten) {
  const auto add = find_operator("aten::add_", "Tensor");
  EXPECT_TRUE(OperandsOf(add, at::ones({1}), replicated({1}, 4), 1).operands.writes_plain());
  EXPECT_FALSE(OperandsOf(add, replicated({1}, 4), at::ones({1}), 1).operands.writes_plain());
}

TEST(Operands, OfOtherRanksAreRefused) {
  EXPECT_THROW(
      OperandsOf(find_operator("aten::add", "Tensor"), replicated({1}, 4), replicated({1}, 2), 1),
      UsageError);
}

}  // namespace
}  // namespace polyrank
