// What the nodes of rank-dependent ints, floats and bools share: all of their arithmetic.
#pragma once

#include <c10/core/SymNodeImpl.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/engine/local_number.h>
#include <polyrank/engine/local_number_ops.h>

#include <cstdint>
#include <optional>
#include <string>

namespace polyrank {

// NOTE [Rank-dependent numbers]
// A SymInt whose node is a LocalIntNode stands for one int a rank, as a LocalTensor stands for one
// tensor a rank; SymFloat and SymBool have their LocalFloatNode and LocalBoolNode. Example on ranks
// 0-3, with `rank` = {0: 0, 1: 1, 2: 2, 3: 3}:
//
//   rank // 2        LocalIntNode({0-1: 0, 2-3: 1}): equal values are merged into one cohort
//   rank * 0         0: a number that is the same everywhere is a constant
//   rank / 2         LocalFloatNode({0: 0.0, 1: 0.5, 2: 1.0, 3: 1.5})
//   (rank // 2) < 2  True: ranks agree
//
// Arithmetic is Python's: floor division and modulo round down, true division of ints is correctly
// rounded, and what has no result in 64 bits is an error, on whichever rank.
//
// Where one answer is needed for all ranks (`int()`, `if`, `range`) and ranks disagree, that is a
// DivergenceError: one program runs for all ranks, so it can't take two ways at once.
//
// A comparison on which ranks disagree depends on who asks. PyTorch compares sizes to choose a way
// that must do for every rank: asked by it, `==` means "on all ranks" (so differing is not equal,
// and `!=` is its negation), and `<`, `<=`, `>`, `>=` are a DivergenceError. A program's own
// comparison is a rank-dependent bool, which becomes a DivergenceError only if it is branched on.
// See NumberCaller in number_hooks.h; it is asked only when ranks disagree.
//
// Uniform nodes: a constant operand that PyTorch wraps (`wrap_int(2)`) is a node of ours with one
// cohort, because it must be able to stand on the left of an operator. For ints and bools it
// reports is_constant(), so PyTorch unpacks it; for floats PyTorch has no constant nodes.

// A node over any of the three kinds of number. Immutable.
//
// Thread rule: free to be used by any number of threads.
class POLYRANK_API LocalNode : public c10::SymNodeImpl {
 public:
  const AnyNumber& number() const noexcept { return number_; }
  const RankPartition& partition() const noexcept { return partition_of(number_); }

  // The general forms of the operators below, and those that c10::SymNodeImpl has no name for.
  // Throws: as apply() and compare() in local_number_ops.h; UnsupportedOpError if an operand is
  //         a node of another kind (symbolic or nested int), other than a constant.
  c10::SymNode unary(UnaryOp op) const;
  c10::SymNode binary(BinaryOp op, const c10::SymNode& other) const;
  c10::SymNode compare(CompareOp op, const c10::SymNode& other) const;
  c10::SymNode round_to_digits(std::int64_t num_digits) const;
  c10::SymNode sym_sum(c10::ArrayRef<c10::SymNode> terms) const;

  bool is_int() override { return std::holds_alternative<LocalInt>(number_); }
  bool is_bool() override { return std::holds_alternative<LocalBool>(number_); }
  bool is_float() override { return std::holds_alternative<LocalFloat>(number_); }

  c10::SymNode add(const c10::SymNode& other) override { return binary(BinaryOp::kAdd, other); }
  c10::SymNode sub(const c10::SymNode& other) override { return binary(BinaryOp::kSub, other); }
  c10::SymNode mul(const c10::SymNode& other) override { return binary(BinaryOp::kMul, other); }
  // float_truediv and int_truediv call this.
  c10::SymNode truediv(const c10::SymNode& other) override {
    return binary(BinaryOp::kTrueDiv, other);
  }
  // pow_by_natural calls this.
  c10::SymNode pow(const c10::SymNode& other) override { return binary(BinaryOp::kPow, other); }
  c10::SymNode float_pow(const c10::SymNode& other) override {
    return binary(BinaryOp::kFloatPow, other);
  }
  // int_floordiv calls this.
  c10::SymNode floordiv(const c10::SymNode& other) override {
    return binary(BinaryOp::kFloorDiv, other);
  }
  c10::SymNode mod(const c10::SymNode& other) override { return binary(BinaryOp::kMod, other); }
  c10::SymNode sym_min(const c10::SymNode& other) override { return binary(BinaryOp::kMin, other); }
  c10::SymNode sym_max(const c10::SymNode& other) override { return binary(BinaryOp::kMax, other); }
  c10::SymNode sym_or(const c10::SymNode& other) override {
    return binary(BinaryOp::kBitwiseOr, other);
  }
  c10::SymNode sym_and(const c10::SymNode& other) override {
    return binary(BinaryOp::kBitwiseAnd, other);
  }

  c10::SymNode eq(const c10::SymNode& other) override { return compare(CompareOp::kEq, other); }
  c10::SymNode ne(const c10::SymNode& other) override { return compare(CompareOp::kNe, other); }
  c10::SymNode gt(const c10::SymNode& other) override { return compare(CompareOp::kGt, other); }
  c10::SymNode lt(const c10::SymNode& other) override { return compare(CompareOp::kLt, other); }
  c10::SymNode le(const c10::SymNode& other) override { return compare(CompareOp::kLe, other); }
  c10::SymNode ge(const c10::SymNode& other) override { return compare(CompareOp::kGe, other); }

  c10::SymNode ceil() override { return unary(UnaryOp::kCeil); }
  c10::SymNode floor() override { return unary(UnaryOp::kFloor); }
  c10::SymNode neg() override { return unary(UnaryOp::kNeg); }
  c10::SymNode sym_not() override { return unary(UnaryOp::kNot); }
  c10::SymNode sym_float() override { return unary(UnaryOp::kToFloat); }
  c10::SymNode sym_ite(const c10::SymNode& then_value, const c10::SymNode& else_value) override;

  c10::SymNode clone() override;
  c10::SymNode wrap_int(std::int64_t value) override;
  c10::SymNode wrap_float(double value) override;
  c10::SymNode wrap_bool(bool value) override;

  // Whether it holds on all ranks, for tensors whose sizes and strides may differ between them.
  c10::SymNode is_contiguous(c10::ArrayRef<c10::SymNode> sizes,
                             c10::ArrayRef<c10::SymNode> strides) override;
  c10::SymNode is_channels_last_contiguous_2d(c10::ArrayRef<c10::SymNode> sizes,
                                              c10::ArrayRef<c10::SymNode> strides) override;
  c10::SymNode is_channels_last_contiguous_3d(c10::ArrayRef<c10::SymNode> sizes,
                                              c10::ArrayRef<c10::SymNode> strides) override;
  c10::SymNode is_channels_last_strides_2d(c10::ArrayRef<c10::SymNode> sizes,
                                           c10::ArrayRef<c10::SymNode> strides) override;
  c10::SymNode is_channels_last_strides_3d(c10::ArrayRef<c10::SymNode> sizes,
                                           c10::ArrayRef<c10::SymNode> strides) override;
  c10::SymNode is_non_overlapping_and_dense(c10::ArrayRef<c10::SymNode> sizes,
                                            c10::ArrayRef<c10::SymNode> strides) override;

  // One value for all ranks.
  // Throws, for the next five: DivergenceError naming ranks and values, if ranks disagree.
  std::int64_t guard_int(const char* file, std::int64_t line) override;
  double guard_float(const char* file, std::int64_t line) override;
  bool guard_bool(const char* file, std::int64_t line) override;
  std::int64_t int_() override { return guard_int("", 0); }
  bool bool_() override { return guard_bool("", 0); }
  // The questions that PyTorch asks where it has a way for "perhaps": what they name, if ranks
  // disagree. guard_size_oblivious and expect_true have no such way and are guard_bool.
  bool guard_or_false(const char* file, std::int64_t line) override;
  bool guard_or_true(const char* file, std::int64_t line) override;
  bool statically_known_true(const char* file, std::int64_t line) override;

  bool has_hint() override { return true; }
  // "LocalIntNode({0-3: 0, 4-7: 1})"; the value alone if it is the same on all ranks.
  std::string str() override;

  std::optional<std::int64_t> maybe_as_int() override;
  std::optional<std::int64_t> constant_int() override { return maybe_as_int(); }
  std::optional<bool> constant_bool() override;
  bool is_constant() override { return !is_float() && partition().is_uniform(); }
  bool is_symbolic() override { return false; }

 protected:
  explicit LocalNode(AnyNumber number) : number_(std::move(number)) {}

 private:
  AnyNumber operand(const c10::SymNode& other) const;
  template <typename Question>
  c10::SymNode on_all_ranks(c10::ArrayRef<c10::SymNode> sizes, c10::ArrayRef<c10::SymNode> strides,
                            Question question) const;

  AnyNumber number_;
};

// A node of the number's kind; PyTorch's constant for a bool that is the same on all ranks.
c10::SymNode make_node(AnyNumber number);

}  // namespace polyrank
