#include <polyrank/engine/local_number_forms.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>

namespace polyrank {

namespace {

using Int = std::int64_t;

template <typename T>
Checked<T> same(T a) {
  return {a};
}

template <typename Function, typename T, typename R = T>
Checked<R> plain(T a, T b) {
  return {static_cast<R>(Function{}(a, b))};
}

template <double (*function)(double)>
CheckedFloat evaluated(double a) {
  return python_math::evaluate(function, a);
}

template <double (*function)(double)>
CheckedInt rounded(double a) {
  return python_math::to_int(function(a));
}

constexpr UnaryForms math_function(const char* name, CheckedFloat (*function)(double)) {
  return {name, nullptr, function, nullptr, nullptr};
}

template <typename Function>
constexpr CompareForms comparison(const char* symbol) {
  return {symbol, &plain<Function, Int, bool>, &plain<Function, double, bool>};
}

// In the order of UnaryOp.
constexpr std::array kUnaryForms = {
    UnaryForms{"-", &python_math::negate, [](double a) { return CheckedFloat{-a}; }, nullptr,
               nullptr},
    UnaryForms{"abs", &python_math::absolute, [](double a) { return CheckedFloat{std::abs(a)}; },
               nullptr, nullptr},
    UnaryForms{"+", &same<Int>, &same<double>, nullptr, nullptr},
    UnaryForms{"math.ceil", &same<Int>, nullptr, &rounded<std::ceil>, nullptr},
    UnaryForms{"math.floor", &same<Int>, nullptr, &rounded<std::floor>, nullptr},
    UnaryForms{"math.trunc", &same<Int>, nullptr, &rounded<std::trunc>, nullptr},
    UnaryForms{"round", &same<Int>, nullptr, &rounded<std::nearbyint>, nullptr},
    UnaryForms{"not", nullptr, nullptr, nullptr, [](double a) { return Checked<bool>{a == 0}; }},
    UnaryForms{"float.is_integer", nullptr, nullptr, nullptr,
               [](double a) { return Checked<bool>{std::isfinite(a) && std::floor(a) == a}; }},
    math_function("float", &same<double>),
    math_function("math.sqrt", &evaluated<std::sqrt>),
    math_function("math.cos", &evaluated<std::cos>),
    math_function("math.cosh", &evaluated<std::cosh>),
    math_function("math.sin", &evaluated<std::sin>),
    math_function("math.sinh", &evaluated<std::sinh>),
    math_function("math.tan", &evaluated<std::tan>),
    math_function("math.tanh", &evaluated<std::tanh>),
    math_function("math.asin", &evaluated<std::asin>),
    math_function("math.acos", &evaluated<std::acos>),
    math_function("math.atan", &evaluated<std::atan>),
    math_function("math.log2", &evaluated<std::log2>),
};
static_assert(kUnaryForms.size() == static_cast<std::size_t>(UnaryOp::kLog2) + 1);

// In the order of BinaryOp.
constexpr std::array kBinaryForms = {
    BinaryForms{"+", &python_math::add, &plain<std::plus<>, double>, nullptr},
    BinaryForms{"-", &python_math::subtract, &plain<std::minus<>, double>, nullptr},
    BinaryForms{"*", &python_math::multiply, &plain<std::multiplies<>, double>, nullptr},
    BinaryForms{"//", &python_math::floor_divide, &python_math::floor_divide, nullptr},
    BinaryForms{"%", &python_math::modulo, &python_math::modulo, nullptr},
    BinaryForms{"**", &python_math::power, &python_math::power, nullptr},
    BinaryForms{"min", [](Int a, Int b) { return CheckedInt{std::min(a, b)}; },
                [](double a, double b) { return CheckedFloat{b < a ? b : a}; }, nullptr},
    BinaryForms{"max", [](Int a, Int b) { return CheckedInt{std::max(a, b)}; },
                [](double a, double b) { return CheckedFloat{b > a ? b : a}; }, nullptr},
    BinaryForms{"/", nullptr, &python_math::true_divide, nullptr},
    BinaryForms{"**", nullptr, &python_math::power, nullptr},
    BinaryForms{"&", &plain<std::bit_and<>, Int>, nullptr, &plain<std::bit_and<>, bool>},
    BinaryForms{"|", &plain<std::bit_or<>, Int>, nullptr, &plain<std::bit_or<>, bool>},
    BinaryForms{"^", &plain<std::bit_xor<>, Int>, nullptr, &plain<std::bit_xor<>, bool>},
    BinaryForms{"<<", &python_math::shift_left, nullptr, nullptr},
    BinaryForms{">>", &python_math::shift_right, nullptr, nullptr},
};
static_assert(kBinaryForms.size() == static_cast<std::size_t>(BinaryOp::kRightShift) + 1);

// In the order of CompareOp.
constexpr std::array kCompareForms = {
    comparison<std::equal_to<>>("=="), comparison<std::not_equal_to<>>("!="),
    comparison<std::less<>>("<"),      comparison<std::less_equal<>>("<="),
    comparison<std::greater<>>(">"),   comparison<std::greater_equal<>>(">="),
};
static_assert(kCompareForms.size() == static_cast<std::size_t>(CompareOp::kGe) + 1);

}  // namespace

const UnaryForms& forms_of(UnaryOp op) { return kUnaryForms[static_cast<std::size_t>(op)]; }

const BinaryForms& forms_of(BinaryOp op) { return kBinaryForms[static_cast<std::size_t>(op)]; }

const CompareForms& forms_of(CompareOp op) { return kCompareForms[static_cast<std::size_t>(op)]; }

}  // namespace polyrank
