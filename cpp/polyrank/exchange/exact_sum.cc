#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <polyrank/exchange/exact_sum.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

// NOTE [Rounding to odd]
// An exact sum that is rounded to float64 and then to a narrower type may be rounded twice. So what
// float64 can't hold is cut, and its last bit set: whatever is narrower by two bits or more then
// rounds as it would round the exact sum, for it sees that it is no tie.

// `value`, which is `rest` away from the exact one, rounded to odd. Float: float or double.
template <class Bits, class Float>
Float to_odd(Float value, double rest) {
  if (rest == 0 || !std::isfinite(value)) {
    return value;
  }
  auto bits = std::bit_cast<Bits>(value);
  if ((rest < 0) != std::signbit(value)) {
    bits -= 1;  // towards zero; the sign is another bit
  }
  return std::bit_cast<Float>(bits | 1);
}

// An exact sum, as floats that don't overlap, the least one first.
class ExactSum {
 public:
  void clear() {
    parts_.clear();
    in_order_ = 0;
  }

  void add(double value) {
    in_order_ += value;
    std::size_t kept = 0;
    for (double part : parts_) {
      if (std::abs(value) < std::abs(part)) {
        std::swap(value, part);
      }
      const double sum = value + part;
      const double error = part - (sum - value);
      if (error != 0) {
        parts_[kept++] = error;
      }
      value = sum;
    }
    parts_.resize(kept);
    parts_.push_back(value);
  }

  // The nearest float64, and what the exact sum is beyond it, up to its sign and size.
  std::pair<double, double> rounded() const {
    double value = 0;
    double rest = 0;
    std::size_t left = parts_.size();
    while (left > 0 && rest == 0) {
      const double part = parts_[--left];
      const double sum = value + part;
      rest = part - (sum - value);
      value = sum;
    }
    if (!std::isfinite(value) || !std::isfinite(in_order_)) {
      return {in_order_, 0};
    }
    // A tie that was rounded to even, and what follows says that it is none.
    if (left > 0 && (rest < 0) == (parts_[left - 1] < 0)) {
      const double twice = rest * 2;
      const double other = value + twice;
      if (other - value == twice) {
        rest = -rest;
        value = other;
      }
    }
    return {value, rest};
  }

 private:
  std::vector<double> parts_;
  double in_order_ = 0;
};

template <class T>
T round_once(const ExactSum& sum) {
  const auto [nearest, rest] = sum.rounded();
  if constexpr (std::is_same_v<T, double>) {
    return nearest;
  } else {
    const auto in_double = to_odd<std::uint64_t>(nearest, rest);
    const auto in_float = static_cast<float>(in_double);
    if constexpr (std::is_same_v<T, float>) {
      return in_float;
    } else {
      return static_cast<T>(
          to_odd<std::uint32_t>(in_float, in_double - static_cast<double>(in_float)));
    }
  }
}

template <class T>
void add_up(const std::vector<const T*>& members, T* total, std::int64_t numel) {
  ExactSum sum;
  for (std::int64_t i = 0; i < numel; ++i) {
    sum.clear();
    for (const T* const member : members) {
      sum.add(static_cast<double>(member[i]));
    }
    total[i] = round_once<T>(sum);
  }
}

at::Tensor on_host(const at::Tensor& tensor) { return tensor.to(at::kCPU).contiguous(); }

}  // namespace

at::Tensor exact_sum(c10::ArrayRef<at::Tensor> members) {
  const at::Tensor& first = members.front();
  std::vector<at::Tensor> parts;
  parts.reserve(members.size());
  for (const at::Tensor& member : members) {
    parts.push_back(on_host(first.is_complex() ? at::view_as_real(member) : member));
  }
  at::Tensor total = at::empty(parts.front().sizes(), parts.front().options());
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, total.scalar_type(), "polyrank::exact_sum", [&] {
        std::vector<const scalar_t*> values;
        values.reserve(parts.size());
        for (const at::Tensor& part : parts) {
          values.push_back(part.const_data_ptr<scalar_t>());
        }
        add_up(values, total.mutable_data_ptr<scalar_t>(), total.numel());
      });
  return (first.is_complex() ? at::view_as_complex(total) : total).to(first.device());
}

}  // namespace polyrank
