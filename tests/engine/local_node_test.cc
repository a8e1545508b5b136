#include <c10/core/ConstantSymNodeImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_node.h>
#include <polyrank/engine/number_hooks.h>

#include <functional>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using Int = std::int64_t;

c10::SymNode int_node(const std::vector<Int>& value_of_rank) {
  const auto world_size = static_cast<Int>(value_of_rank.size());
  return make_node(LocalInt(RankPartition::identity(RankSet::first(world_size)), value_of_rank));
}

template <typename ErrorType>
std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "no such error";
}

// A program's own comparison, as the bindings report it.
class ByUser {
 public:
  ByUser() {
    number_hooks().caller = [] { return NumberCaller::kUser; };
  }
  ~ByUser() { number_hooks().caller = nullptr; }
  ByUser(const ByUser&) = delete;
  ByUser(ByUser&&) = delete;
  ByUser& operator=(const ByUser&) = delete;
  ByUser& operator=(ByUser&&) = delete;
};

// A symbolic int of another kind.
class OtherNode final : public c10::SymNodeImpl {
 public:
  std::string str() override { return "s0"; }
};

TEST(LocalNode, ArithmeticGivesNodes) {
  const c10::SymNode rank = int_node({0, 1, 2, 3});
  EXPECT_EQ(rank->add(rank->wrap_int(1))->str(), "LocalIntNode({0: 1, 1: 2, 2: 3, 3: 4})");
  EXPECT_EQ(rank->floordiv(rank->wrap_int(2))->str(), "LocalIntNode({0-1: 0, 2-3: 1})");
  EXPECT_EQ(rank->wrap_int(7)->int_floordiv(rank->add(rank->wrap_int(1)))->str(),
            "LocalIntNode({0: 7, 1: 3, 2: 2, 3: 1})");
  EXPECT_EQ(rank->int_truediv(rank->wrap_int(2))->str(),
            "LocalFloatNode({0: 0.0, 1: 0.5, 2: 1.0, 3: 1.5})");
  EXPECT_EQ(rank->pow_by_natural(rank->wrap_int(2))->sym_max(rank->wrap_int(4))->str(),
            "LocalIntNode({0-2: 4, 3: 9})");
  EXPECT_EQ(rank->sym_float()->mul(rank->wrap_float(0.5))->ceil()->str(),
            "LocalIntNode({0: 0, 1-2: 1, 3: 2})");
  const std::vector<c10::SymNode> terms = {rank, rank, rank->wrap_int(1)};
  EXPECT_EQ(dynamic_cast<LocalNode&>(*rank).sym_sum(terms)->str(),
            "LocalIntNode({0: 1, 1: 3, 2: 5, 3: 7})");
}

TEST(LocalNode, EqualEverywhereIsAConstant) {
  const c10::SymNode rank = int_node({0, 1});
  const c10::SymNode zero = rank->sub(rank);
  EXPECT_TRUE(zero->is_constant());
  EXPECT_EQ(zero->maybe_as_int(), 0);
  EXPECT_EQ(zero->guard_int("", 0), 0);
  EXPECT_EQ(zero->str(), "0");
  EXPECT_FALSE(rank->is_constant());
  EXPECT_EQ(rank->maybe_as_int(), std::nullopt);
  EXPECT_EQ(rank->ge(rank->wrap_int(0))->constant_bool(), true);
}

TEST(LocalNode, TakesConstantsOfPyTorch) {
  const c10::SymNode rank = int_node({0, 1});
  EXPECT_EQ(rank->add(c10::make_intrusive<c10::ConstantSymNodeImpl<Int>>(5))->str(),
            "LocalIntNode({0: 5, 1: 6})");
  const c10::SymNode yes = c10::make_intrusive<c10::ConstantSymNodeImpl<bool>>(true);
  EXPECT_EQ(rank->wrap_bool(false)->sym_or(yes)->constant_bool(), true);
}

TEST(LocalNode, RefusesOtherSymbols) {
  const c10::SymNode rank = int_node({0, 1});
  EXPECT_THAT(error_of<UnsupportedOpError>([&] { rank->add(c10::make_intrusive<OtherNode>()); }),
              HasSubstr("LocalIntNode({0: 0, 1: 1}) and s0"));
}

TEST(LocalNode, PyTorchComparesOnAllRanks) {
  const c10::SymNode rank = int_node({0, 1, 1, 1});
  const c10::SymNode one = rank->wrap_int(1);
  EXPECT_EQ(rank->eq(one)->constant_bool(), false);
  EXPECT_EQ(rank->ne(one)->constant_bool(), true);
  EXPECT_EQ(rank->eq(rank)->constant_bool(), true);
  EXPECT_EQ(rank->ne(rank)->constant_bool(), false);
  EXPECT_EQ(rank->lt(rank->wrap_int(2))->constant_bool(), true);
  const std::string error = error_of<DivergenceError>([&] { rank->lt(one); });
  EXPECT_THAT(error, HasSubstr("`LocalIntNode({0: 0, 1-3: 1}) < 1`"));
  EXPECT_THAT(error, HasSubstr("True on rank 0, False on ranks 1-3"));
  EXPECT_THAT(error, HasSubstr("polyrank run --world threads"));
}

TEST(LocalNode, AProgramComparesByRank) {
  const ByUser by_user;
  const c10::SymNode rank = int_node({0, 1, 1, 1});
  const c10::SymNode is_first = rank->eq(rank->wrap_int(0));
  EXPECT_EQ(is_first->str(), "LocalBoolNode({0: True, 1-3: False})");
  EXPECT_EQ(rank->gt(rank->wrap_int(0))->str(), "LocalBoolNode({0: False, 1-3: True})");
  EXPECT_EQ(is_first->sym_not()->str(), "LocalBoolNode({0: False, 1-3: True})");
  EXPECT_EQ(is_first->sym_and(is_first->sym_not())->constant_bool(), false);
  EXPECT_EQ(is_first->sym_ite(rank->wrap_int(5), rank)->str(), "LocalIntNode({0: 5, 1-3: 1})");
}

TEST(LocalNode, BranchingWhereRanksDisagreeIsDivergence) {
  const ByUser by_user;
  const c10::SymNode rank = int_node({0, 1, 1, 1});
  const c10::SymNode is_first = rank->eq(rank->wrap_int(0));
  for (const auto& ask : std::vector<std::function<void()>>{
           [&] { is_first->bool_(); }, [&] { is_first->guard_bool("", 0); },
           [&] { is_first->expect_true("", 0); }, [&] { is_first->guard_size_oblivious("", 0); }}) {
    const std::string error = error_of<DivergenceError>(ask);
    EXPECT_THAT(error, HasSubstr("ranks disagree about a branch: True on rank 0, False on ranks "
                                 "1-3."));
    EXPECT_THAT(error, HasSubstr("the threads world"));
  }
  EXPECT_FALSE(is_first->guard_or_false("", 0));
  EXPECT_TRUE(is_first->guard_or_true("", 0));
  EXPECT_FALSE(is_first->statically_known_true("", 0));
}

TEST(LocalNode, OneValueWhereRanksDifferIsDivergence) {
  const c10::SymNode rank = int_node({0, 0, 0, 0, 1, 1, 1, 1});
  EXPECT_THAT(error_of<DivergenceError>([&] { rank->guard_int("", 0); }),
              HasSubstr("0 on ranks 0-3, 1 on ranks 4-7"));
  EXPECT_THAT(error_of<DivergenceError>([&] { rank->int_(); }), HasSubstr("one int is needed"));
  EXPECT_THAT(error_of<DivergenceError>([&] { rank->sym_float()->guard_float("", 0); }),
              HasSubstr("0.0 on ranks 0-3, 1.0 on ranks 4-7"));
  EXPECT_FALSE(rank->sub(rank)->bool_());
  EXPECT_TRUE(rank->add(rank->wrap_int(1))->bool_());
}

TEST(LocalNode, GeometryHoldsIfItDoesOnAllRanks) {
  const c10::SymNode rows = int_node({2, 3});
  const auto constant = [&](Int value) { return rows->wrap_int(value); };
  const std::vector<c10::SymNode> sizes = {rows, constant(4)};
  const std::vector<c10::SymNode> dense = {constant(4), constant(1)};
  const std::vector<c10::SymNode> transposed = {constant(1), rows};
  const std::vector<c10::SymNode> gaps_on_rank_0 = {int_node({5, 4}), constant(1)};
  EXPECT_EQ(rows->is_contiguous(sizes, dense)->constant_bool(), true);
  EXPECT_EQ(rows->is_contiguous(sizes, transposed)->constant_bool(), false);
  EXPECT_EQ(rows->is_contiguous(sizes, gaps_on_rank_0)->constant_bool(), false);
  EXPECT_EQ(rows->is_non_overlapping_and_dense(sizes, transposed)->constant_bool(), true);
  EXPECT_EQ(rows->is_non_overlapping_and_dense(sizes, gaps_on_rank_0)->constant_bool(), false);
  EXPECT_EQ(rows->is_channels_last_contiguous_2d(sizes, dense)->constant_bool(), false);
  EXPECT_EQ(rows->is_channels_last_contiguous_3d(sizes, dense)->constant_bool(), false);
  EXPECT_EQ(rows->is_channels_last_strides_3d(sizes, dense)->constant_bool(), false);
  const std::vector<c10::SymNode> image = {rows, constant(3), constant(8), constant(8)};
  const std::vector<c10::SymNode> channels_last = {constant(192), constant(1), constant(24),
                                                   constant(3)};
  EXPECT_EQ(rows->is_channels_last_contiguous_2d(image, channels_last)->constant_bool(), true);
  EXPECT_EQ(rows->is_channels_last_strides_2d(image, channels_last)->constant_bool(), true);
}

}  // namespace
}  // namespace polyrank
