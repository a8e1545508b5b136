#include <polyrank/core/cohort_projection.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_number_forms.h>
#include <polyrank/engine/local_number_math.h>
#include <polyrank/engine/local_number_ops.h>
#include <polyrank/engine/local_number_text.h>

#include <string>

namespace polyrank {

namespace {

// Throws: an error that names all ranks where `on_cohort` has the fault of cohort `first`, whose
//         operation reads `operation` ("7 // 0"): what Python raises if they all have it, else a
//         DivergenceError. See NOTE [Errors on some ranks] in cohort_errors.h.
template <typename OnCohort>
[[noreturn]] void throw_fault(const RankPartition& partition, std::int32_t first,
                              OnCohort on_cohort, const std::string& operation) {
  const NumberFault fault = on_cohort(first).fault;
  RankSet ranks = partition.cohort(first);
  for (std::int32_t cohort = first + 1; cohort < partition.num_cohorts(); ++cohort) {
    if (on_cohort(cohort).fault == fault) {
      ranks = ranks.unite(partition.cohort(cohort));
    }
  }
  const bool are_several = ranks != partition.cohort(first);
  const std::string message = str_cat(
      to_text(fault), " on ", ranks_text(ranks), ": ", operation,
      are_several ? str_cat(" on rank ", partition.lowest_rank(first)) : std::string(), ".");
  const bool is_ours = fault == NumberFault::kIntOverflow || fault == NumberFault::kNegativePower;
  if (ranks != partition.ranks() && !is_ours) {
    throw DivergenceError(str_cat(
        message,
        " Other ranks have no such error. The lockstep world runs one program for all ranks, which "
        "can't both go on and handle an error. Choose with rank_map() or torch.where, or run the "
        "program with `polyrank run --world threads` (the threads world)."));
  }
  if (fault == NumberFault::kDivisionByZero) {
    throw DivisionByZeroError(message);
  }
  throw UsageError(message);
}

// The results of `on_cohort`, a function from cohorts to Checked<R>.
template <typename R, typename OnCohort, typename Operation>
LocalNumber<R> compute(const RankPartition& partition, OnCohort on_cohort, Operation operation) {
  c10::SmallVector<R, 4> results;
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    const Checked<R> result = on_cohort(cohort);
    if (result.fault != NumberFault::kNone) {
      throw_fault(partition, cohort, on_cohort, operation(cohort));
    }
    results.push_back(result.value);
  }
  return LocalNumber<R>(partition, {results.data(), results.size()});
}

template <typename R, typename T>
LocalNumber<R> map(const LocalNumber<T>& operand, const char* name, Checked<R> (*function)(T)) {
  return compute<R>(
      operand.partition(), [&](std::int32_t cohort) { return function(operand.value(cohort)); },
      [&](std::int32_t cohort) { return str_cat(name, "(", to_text(operand.value(cohort)), ")"); });
}

// An operand, by the cohorts of the operation.
template <typename T>
class Operand {
 public:
  // Requires: `partition` is a common_partition() of the number's and others.
  Operand(const LocalNumber<T>& number, const RankPartition& partition)
      : number_(on_ranks(number, partition.ranks())),
        projection_(project(partition, number_.partition())) {}

  T operator[](std::int32_t cohort) const { return number_.value(projection_[cohort]); }

 private:
  static LocalNumber<T> on_ranks(const LocalNumber<T>& number, const RankSet& ranks) {
    if (number.ranks() == ranks) {
      return number;
    }
    return number.is_uniform() ? LocalNumber<T>::uniform(ranks, number.value(0))
                               : number.restrict_to(ranks);
  }

  LocalNumber<T> number_;
  CohortProjection projection_;
};

template <typename R, typename T>
LocalNumber<R> combine(const LocalNumber<T>& left, const LocalNumber<T>& right, const char* name,
                       Checked<R> (*function)(T, T)) {
  const RankPartition partition = common_partition(left.partition(), right.partition());
  const Operand<T> a(left, partition);
  const Operand<T> b(right, partition);
  return compute<R>(
      partition, [&](std::int32_t cohort) { return function(a[cohort], b[cohort]); },
      [&](std::int32_t cohort) {
        return str_cat(to_text(a[cohort]), " ", name, " ", to_text(b[cohort]));
      });
}

template <typename T>
AnyNumber select_of(const LocalBool& condition, const LocalNumber<T>& then_value,
                    const LocalNumber<T>& else_value) {
  const RankPartition partition = common_partition(
      common_partition(condition.partition(), then_value.partition()), else_value.partition());
  const Operand<bool> is_then(condition, partition);
  const Operand<T> a(then_value, partition);
  const Operand<T> b(else_value, partition);
  return compute<T>(
      partition,
      [&](std::int32_t cohort) { return Checked<T>{is_then[cohort] ? a[cohort] : b[cohort]}; },
      [](std::int32_t) { return std::string(); });
}

template <typename R>
LocalNumber<R> convert(const AnyNumber& any) {
  return std::visit(
      [](const auto& number) {
        c10::SmallVector<R, 4> values;
        for (const auto value : number.values()) {
          values.push_back(static_cast<R>(value));
        }
        return LocalNumber<R>(number.partition(), {values.data(), values.size()});
      },
      any);
}

// Requires: `number` is no float.
LocalInt to_int(const AnyNumber& number) {
  return std::holds_alternative<LocalInt>(number) ? std::get<LocalInt>(number)
                                                  : convert<std::int64_t>(number);
}

template <typename T>
bool has(const AnyNumber& a, const AnyNumber& b) {
  return std::holds_alternative<T>(a) || std::holds_alternative<T>(b);
}

bool are_bools(const AnyNumber& a, const AnyNumber& b) {
  return !has<LocalInt>(a, b) && !has<LocalFloat>(a, b);
}

}  // namespace

LocalFloat to_float(const AnyNumber& number) {
  return std::holds_alternative<LocalFloat>(number) ? std::get<LocalFloat>(number)
                                                    : convert<double>(number);
}

LocalBool truth(const AnyNumber& number) {
  return std::holds_alternative<LocalBool>(number) ? std::get<LocalBool>(number)
                                                   : convert<bool>(number);
}

AnyNumber apply(UnaryOp op, const AnyNumber& operand) {
  const UnaryForms& forms = forms_of(op);
  if (forms.float_to_bool != nullptr) {
    return map(to_float(operand), forms.name, forms.float_to_bool);
  }
  if (!std::holds_alternative<LocalFloat>(operand) && forms.int_to_int != nullptr) {
    return map(to_int(operand), forms.name, forms.int_to_int);
  }
  if (forms.float_to_int != nullptr) {
    return map(to_float(operand), forms.name, forms.float_to_int);
  }
  return map(to_float(operand), forms.name, forms.float_to_float);
}

AnyNumber apply(BinaryOp op, const AnyNumber& left, const AnyNumber& right) {
  const BinaryForms& forms = forms_of(op);
  if (are_bools(left, right) && forms.on_bools != nullptr) {
    return combine(std::get<LocalBool>(left), std::get<LocalBool>(right), forms.symbol,
                   forms.on_bools);
  }
  if (op == BinaryOp::kTrueDiv && !has<LocalFloat>(left, right)) {
    CheckedFloat (*const divide)(std::int64_t, std::int64_t) = &python_math::true_divide;
    return combine(to_int(left), to_int(right), forms.symbol, divide);
  }
  if (!has<LocalFloat>(left, right) && forms.on_ints != nullptr) {
    return combine(to_int(left), to_int(right), forms.symbol, forms.on_ints);
  }
  if (forms.on_floats == nullptr) {
    throw UnsupportedOpError(str_cat("`", forms.symbol, "` has no meaning for floats: ", repr(left),
                                     " ", forms.symbol, " ", repr(right), "."));
  }
  return combine(to_float(left), to_float(right), forms.symbol, forms.on_floats);
}

LocalBool compare(CompareOp op, const AnyNumber& left, const AnyNumber& right) {
  const CompareForms& forms = forms_of(op);
  return has<LocalFloat>(left, right)
             ? combine(to_float(left), to_float(right), forms.symbol, forms.on_floats)
             : combine(to_int(left), to_int(right), forms.symbol, forms.on_ints);
}

AnyNumber select(const LocalBool& condition, const AnyNumber& then_value,
                 const AnyNumber& else_value) {
  if (are_bools(then_value, else_value)) {
    return select_of(condition, std::get<LocalBool>(then_value), std::get<LocalBool>(else_value));
  }
  if (has<LocalFloat>(then_value, else_value)) {
    return select_of(condition, to_float(then_value), to_float(else_value));
  }
  return select_of(condition, to_int(then_value), to_int(else_value));
}

AnyNumber round_to_digits(const AnyNumber& operand, std::int64_t num_digits) {
  if (num_digits < 0) {
    throw UnsupportedOpError(str_cat("round(", repr(operand), ", ", num_digits,
                                     "): rounding to tens or hundreds is not supported; divide, "
                                     "round and multiply instead."));
  }
  if (!std::holds_alternative<LocalFloat>(operand)) {
    return to_int(operand);
  }
  const auto& number = std::get<LocalFloat>(operand);
  return compute<double>(
      number.partition(),
      [&](std::int32_t cohort) {
        return python_math::round_to_digits(number.value(cohort), num_digits);
      },
      [](std::int32_t) { return std::string(); });
}

}  // namespace polyrank
