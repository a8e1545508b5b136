#include <c10/core/ConstantSymNodeImpl.h>
#include <c10/core/Contiguity.h>
#include <c10/core/MemoryFormat.h>
#include <polyrank/core/cohort_projection.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/answers_for_all.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_node.h>
#include <polyrank/engine/local_number_forms.h>
#include <polyrank/engine/local_number_text.h>
#include <polyrank/engine/number_hooks.h>

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

// Runs `compute`. PyTorch's own bindings call nodes too, and know Python's errors, not ours: where
// there is an interpreter, ours leave a node as Python's.
template <typename Compute>
auto with_python_errors(Compute compute) {
  try {
    return compute();
  } catch (const Error&) {
    if (interpreter_hooks().rethrow != nullptr) {
      interpreter_hooks().rethrow(std::current_exception());
    }
    throw;
  }
}

const LocalNode* as_local_node(const c10::SymNodeImpl& node) {
  if (const auto* local = dynamic_cast<const LocalNode*>(&node)) {
    return local;
  }
  const auto behind_python = number_hooks().behind_python.load(std::memory_order_acquire);
  const auto* behind = behind_python == nullptr ? nullptr : behind_python(node);
  return dynamic_cast<const LocalNode*>(behind);
}

constexpr const char* kThreadsWorld =
    "run the program with `polyrank run --world threads` (the threads world), where each rank runs "
    "its own program.";

[[noreturn]] void throw_branch(const AnyNumber& number) {
  throw DivergenceError(str_cat(
      "ranks disagree about a branch: ", describe(number),
      ". The lockstep world runs one program for all ranks, which can take one way only. Compute "
      "both ways and choose with torch.where, or ",
      kThreadsWorld));
}

[[noreturn]] void throw_one_needed(const char* what, const AnyNumber& number) {
  throw DivergenceError(str_cat("one ", what,
                                " is needed for all ranks, and they differ: ", describe(number),
                                ". Use the rank-dependent number itself (in arithmetic, as a size "
                                "or an index), or ",
                                kThreadsWorld));
}

// The value that all ranks agree on.
template <typename T>
T value_of(const LocalNumber<T>& number, const char* what) {
  if (!number.is_uniform()) {
    throw_one_needed(what, number);
  }
  return number.value(0);
}

}  // namespace

c10::SymNode make_node(AnyNumber number) {
  if (std::holds_alternative<LocalInt>(number)) {
    return c10::make_intrusive<LocalIntNode>(std::get<LocalInt>(std::move(number)));
  }
  if (std::holds_alternative<LocalFloat>(number)) {
    return c10::make_intrusive<LocalFloatNode>(std::get<LocalFloat>(std::move(number)));
  }
  auto& of_bool = std::get<LocalBool>(number);
  if (of_bool.is_uniform()) {
    return c10::make_intrusive<c10::ConstantSymNodeImpl<bool>>(of_bool.value(0));
  }
  return c10::make_intrusive<LocalBoolNode>(std::move(of_bool));
}

AnyNumber LocalNode::operand(const c10::SymNode& other) const {
  if (const LocalNode* local = as_local_node(*other)) {
    return local->number();
  }
  if (const auto as_bool = other->constant_bool()) {
    return LocalBool::uniform(partition().ranks(), *as_bool);
  }
  auto as_int = other->maybe_as_int();
  if (!as_int) {
    as_int = other->constant_int();
  }
  if (as_int) {
    return LocalInt::uniform(partition().ranks(), *as_int);
  }
  throw UnsupportedOpError(
      str_cat("a rank-dependent number meets a symbolic or nested number: ", repr(number_), " and ",
              other->str(), ". Tracing with symbolic shapes does not work on ranks that differ."));
}

c10::SymNode LocalNode::unary(UnaryOp op) const {
  return with_python_errors([&] { return make_node(apply(op, number_)); });
}

c10::SymNode LocalNode::binary(BinaryOp op, const c10::SymNode& other) const {
  return with_python_errors([&] { return make_node(apply(op, number_, operand(other))); });
}

c10::SymNode LocalNode::round_to_digits(std::int64_t num_digits) const {
  return with_python_errors(
      [&] { return make_node(polyrank::round_to_digits(number_, num_digits)); });
}

c10::SymNode LocalNode::sym_sum(c10::ArrayRef<c10::SymNode> terms) const {
  return with_python_errors([&] {
    AnyNumber sum = LocalInt::uniform(partition().ranks(), 0);
    for (const c10::SymNode& term : terms) {
      sum = apply(BinaryOp::kAdd, sum, operand(term));
    }
    return make_node(std::move(sum));
  });
}

c10::SymNode LocalNode::compare(CompareOp op, const c10::SymNode& other) const {
  return with_python_errors([&] {
    const AnyNumber right = operand(other);
    LocalBool result = polyrank::compare(op, number_, right);
    if (result.is_uniform() || caller() == NumberCaller::kUser) {
      return make_node(std::move(result));
    }
    if (op == CompareOp::kEq || op == CompareOp::kNe) {
      count_answer_for_all();
      return make_node(LocalBool::uniform(result.ranks(), op == CompareOp::kNe));
    }
    throw DivergenceError(
        str_cat("PyTorch asks for one answer to `", repr(number_), " ", forms_of(op).symbol, " ",
                repr(right), "`, and ranks disagree: ", describe(result),
                ". Give the operation sizes for which all ranks agree, or ", kThreadsWorld));
  });
}

c10::SymNode LocalNode::sym_ite(const c10::SymNode& then_value, const c10::SymNode& else_value) {
  return with_python_errors(
      [&] { return make_node(select(truth(number_), operand(then_value), operand(else_value))); });
}

c10::SymNode LocalNode::clone() {
  // Not make_node(): a uniform bool must stay able to stand on the left of an operator.
  return c10::SymNode::reclaim_copy(this);
}

c10::SymNode LocalNode::wrap_int(std::int64_t value) {
  return c10::make_intrusive<LocalIntNode>(LocalInt::uniform(partition().ranks(), value));
}

c10::SymNode LocalNode::wrap_float(double value) {
  return c10::make_intrusive<LocalFloatNode>(LocalFloat::uniform(partition().ranks(), value));
}

c10::SymNode LocalNode::wrap_bool(bool value) {
  return c10::make_intrusive<LocalBoolNode>(LocalBool::uniform(partition().ranks(), value));
}

std::int64_t LocalNode::guard_int(const char* /*file*/, std::int64_t /*line*/) {
  return with_python_errors([&] {
    if (is_float()) {
      throw UsageError(str_cat("int of a float number ", repr(number_), ": use torch.sym_int."));
    }
    return is_bool() ? static_cast<std::int64_t>(value_of(std::get<LocalBool>(number_), "bool"))
                     : value_of(std::get<LocalInt>(number_), "int");
  });
}

double LocalNode::guard_float(const char* /*file*/, std::int64_t /*line*/) {
  return with_python_errors([&] { return value_of(to_float(number_), "float"); });
}

bool LocalNode::guard_bool(const char* /*file*/, std::int64_t /*line*/) {
  return with_python_errors([&] {
    const LocalBool result = truth(number_);
    if (!result.is_uniform()) {
      throw_branch(result);
    }
    return result.value(0);
  });
}

bool LocalNode::guard_or_false(const char* /*file*/, std::int64_t /*line*/) {
  const LocalBool result = truth(number_);
  return result.is_uniform() && result.value(0);
}

bool LocalNode::guard_or_true(const char* /*file*/, std::int64_t /*line*/) {
  const LocalBool result = truth(number_);
  return !result.is_uniform() || result.value(0);
}

bool LocalNode::statically_known_true(const char* file, std::int64_t line) {
  return guard_or_false(file, line);
}

std::string LocalNode::str() { return repr(number_); }

std::optional<std::int64_t> LocalNode::maybe_as_int() {
  if (!is_int() || !partition().is_uniform()) {
    return std::nullopt;
  }
  return std::get<LocalInt>(number_).value(0);
}

std::optional<bool> LocalNode::constant_bool() {
  if (!is_bool() || !partition().is_uniform()) {
    return std::nullopt;
  }
  return std::get<LocalBool>(number_).value(0);
}

// --- Geometry ----------------------------------------------------------------------------------

namespace {

// c10's own makes GCC warn of an uninitialized variable in c10.
bool non_overlapping_and_dense(c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  std::vector<std::pair<std::int64_t, std::int64_t>> dims;  // stride and size, if it can overlap
  for (std::size_t dim = 0; dim < sizes.size(); ++dim) {
    if (sizes[dim] > 1) {
      dims.emplace_back(strides[dim], sizes[dim]);
    }
  }
  std::ranges::sort(dims);
  std::int64_t dense_stride = 1;
  for (const auto& [stride, size] : dims) {
    if (stride != dense_stride) {
      return false;
    }
    dense_stride *= size;
  }
  return true;
}

}  // namespace

// Requires: all are ints.
template <typename Question>
c10::SymNode LocalNode::on_all_ranks(c10::ArrayRef<c10::SymNode> sizes,
                                     c10::ArrayRef<c10::SymNode> strides, Question question) const {
  return with_python_errors([&] {
    std::vector<AnyNumber> numbers;
    RankPartition partition = this->partition();
    for (const auto& list : {sizes, strides}) {
      for (const c10::SymNode& node : list) {
        numbers.push_back(operand(node));
        partition = common_partition(partition, partition_of(numbers.back()));
      }
    }
    bool holds = true;
    std::vector<std::int64_t> values(numbers.size());
    const c10::IntArrayRef all(values);
    for (std::int32_t cohort = 0; cohort < partition.num_cohorts() && holds; ++cohort) {
      const std::int64_t rank = partition.lowest_rank(cohort);
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        const auto& number = std::get<LocalInt>(numbers[i]);
        values[i] = number.value(number.is_uniform() ? 0 : number.partition().cohort_of(rank));
      }
      holds = question(all.slice(0, sizes.size()), all.slice(sizes.size()));
    }
    return make_node(LocalBool::uniform(partition.ranks(), holds));
  });
}

c10::SymNode LocalNode::is_contiguous(c10::ArrayRef<c10::SymNode> sizes,
                                      c10::ArrayRef<c10::SymNode> strides) {
  return on_all_ranks(sizes, strides, [](c10::IntArrayRef size, c10::IntArrayRef stride) {
    return c10::_compute_contiguous<std::int64_t>(size, stride, c10::multiply_integers(size));
  });
}

c10::SymNode LocalNode::is_channels_last_contiguous_2d(c10::ArrayRef<c10::SymNode> sizes,
                                                       c10::ArrayRef<c10::SymNode> strides) {
  return on_all_ranks(sizes, strides, &c10::_compute_channels_last_contiguous_2d<std::int64_t>);
}

c10::SymNode LocalNode::is_channels_last_contiguous_3d(c10::ArrayRef<c10::SymNode> sizes,
                                                       c10::ArrayRef<c10::SymNode> strides) {
  return on_all_ranks(sizes, strides, &c10::_compute_channels_last_contiguous_3d<std::int64_t>);
}

c10::SymNode LocalNode::is_channels_last_strides_2d(c10::ArrayRef<c10::SymNode> sizes,
                                                    c10::ArrayRef<c10::SymNode> strides) {
  return on_all_ranks(sizes, strides, [](c10::IntArrayRef size, c10::IntArrayRef stride) {
    return c10::is_channels_last_strides_2d(size, stride);
  });
}

c10::SymNode LocalNode::is_channels_last_strides_3d(c10::ArrayRef<c10::SymNode> sizes,
                                                    c10::ArrayRef<c10::SymNode> strides) {
  return on_all_ranks(sizes, strides, [](c10::IntArrayRef size, c10::IntArrayRef stride) {
    return c10::is_channels_last_strides_3d(size, stride);
  });
}

c10::SymNode LocalNode::is_non_overlapping_and_dense(c10::ArrayRef<c10::SymNode> sizes,
                                                     c10::ArrayRef<c10::SymNode> strides) {
  return on_all_ranks(sizes, strides, &non_overlapping_and_dense);
}

}  // namespace polyrank
