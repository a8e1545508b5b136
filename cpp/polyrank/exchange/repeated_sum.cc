#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <polyrank/exchange/repeated_sum.h>
#include <polyrank/exchange/stepwise_sum.h>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdlib>
#include <limits>
#include <type_traits>

namespace polyrank {

namespace {

template <class T>
struct BitsOf;
template <>
struct BitsOf<double> {
  using Type = std::uint64_t;
};
template <>
struct BitsOf<float> {
  using Type = std::uint32_t;
};
template <>
struct BitsOf<c10::Half> {
  using Type = std::uint16_t;
};
template <>
struct BitsOf<c10::BFloat16> {
  using Type = std::uint16_t;
};

// A float as its sign, and its magnitude in bits: the exponent, and the place among the numbers
// that have it.
template <class T>
struct Parts {
  using Bits = BitsOf<T>::Type;
  static constexpr Bits kSign = Bits{1} << (sizeof(T) * 8 - 1);
  static constexpr std::int64_t kNumPlaces = std::int64_t{1}
                                             << (std::numeric_limits<T>::digits - 1);

  static Parts of(T value) {
    const auto bits = std::bit_cast<Bits>(value);
    return {(bits & kSign) != 0, static_cast<std::int64_t>(bits & static_cast<Bits>(~kSign))};
  }
  T value() const {
    return std::bit_cast<T>(
        static_cast<Bits>(static_cast<Bits>(magnitude) | (is_negative ? kSign : Bits{0})));
  }
  std::int64_t place() const { return magnitude % kNumPlaces; }
  bool has_exponent_of(const Parts& other) const {
    return is_negative == other.is_negative &&
           magnitude / kNumPlaces == other.magnitude / kNumPlaces;
  }
  bool operator==(const Parts&) const = default;

  bool is_negative;
  std::int64_t magnitude;
};

// See NOTE [Repeated sums].
template <class T>
T repeated_sum(T total, T value, std::int64_t count) {
  const auto step = [&] {
    --count;
    total = static_cast<T>(total + value);
    return Parts<T>::of(total);
  };
  while (count > 0) {
    const auto before = Parts<T>::of(total);
    const auto first = step();
    if (first == before || count == 0) {
      return total;
    }
    auto second = step();
    if (second == first) {
      return total;
    }
    if (!before.has_exponent_of(second) || !first.has_exponent_of(second)) {
      continue;
    }
    const std::int64_t units = second.magnitude - first.magnitude;
    const std::int64_t room =
        units > 0 ? Parts<T>::kNumPlaces - 1 - second.place() : second.place() - 1;
    const std::int64_t steps = std::clamp<std::int64_t>(room / std::abs(units), 0, count);
    second.magnitude += steps * units;
    total = second.value();
    count -= steps;
  }
  return total;
}

// Up to so many bytes times steps, adding by steps takes less time, 16 to 64 bytes in a cycle.
constexpr std::int64_t kFewByteSteps = 16'384;

template <class T>
void add_floats(at::Tensor& total, const at::Tensor& value, std::int64_t count) {
  T* totals = total.mutable_data_ptr<T>();
  const T* values = value.const_data_ptr<T>();
  if constexpr (sizeof(T) >= sizeof(float)) {  // the narrower ones are added in float32
    if (count <= kFewByteSteps / static_cast<std::int64_t>(sizeof(T))) {
      add_stepwise(totals, values, total.numel(), count);
      return;
    }
  }
  for (std::int64_t i = 0; i < total.numel(); ++i) {
    totals[i] = repeated_sum(totals[i], values[i], count);
  }
}

template <std::integral T>
void add_ints(at::Tensor& total, const at::Tensor& value, std::int64_t count) {
  T* totals = total.mutable_data_ptr<T>();
  const T* values = value.const_data_ptr<T>();
  const auto factor = static_cast<std::uint64_t>(count);
  for (std::int64_t i = 0; i < total.numel(); ++i) {
    totals[i] = static_cast<T>(static_cast<std::uint64_t>(totals[i]) +
                               static_cast<std::uint64_t>(values[i]) * factor);
  }
}

}  // namespace

bool add_repeatedly(at::Tensor& total, const at::Tensor& value, std::int64_t count) {
  if (!total.is_cpu() || total.layout() != c10::kStrided ||
      total.key_set().has(c10::DispatchKey::Python)) {
    return false;
  }
  const c10::ScalarType dtype = total.scalar_type();
  if (dtype == c10::kComplexFloat || dtype == c10::kComplexDouble) {  // by parts
    at::Tensor parts = at::view_as_real(total);
    return add_repeatedly(parts, at::view_as_real(value.resolve_conj()), count);
  }
  const at::Tensor values = value.contiguous();
  if (c10::isIntegralType(dtype, /*includeBool=*/false)) {
    AT_DISPATCH_INTEGRAL_TYPES(dtype, "polyrank::add_repeatedly",
                               [&] { add_ints<scalar_t>(total, values, count); });
    return true;
  }
  switch (dtype) {
    case c10::kDouble:
      add_floats<double>(total, values, count);
      return true;
    case c10::kFloat:
      add_floats<float>(total, values, count);
      return true;
    case c10::kHalf:
      add_floats<c10::Half>(total, values, count);
      return true;
    case c10::kBFloat16:
      add_floats<c10::BFloat16>(total, values, count);
      return true;
    default:
      return false;
  }
}

}  // namespace polyrank
