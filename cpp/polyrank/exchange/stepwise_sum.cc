#include <polyrank/exchange/stepwise_sum.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

namespace polyrank {

namespace {

// So many vectors side by side hide the time that an addition takes.
constexpr std::size_t kNumVectors = 8;

// Adds to whole blocks, in vectors of kBytes. Its functions are inlined into those for a kind of
// processor, which has registers of that width.
template <class T, std::size_t kBytes>
struct Adder {
  // A type of its own: as an argument of std::array, T would lose the attribute.
  struct Vector {
    T lanes [[gnu::vector_size(kBytes)]];
  };
  static_assert(sizeof(Vector) == kBytes);
  static constexpr std::size_t kBlockSize = kNumVectors * kBytes / sizeof(T);
  static constexpr auto kBlock = static_cast<std::int64_t>(kBlockSize);

  template <std::size_t... kIndex>
  [[gnu::always_inline]] static void add_block(T* totals, const T* values, std::int64_t count,
                                               std::index_sequence<kIndex...> /*vectors*/) {
    std::array<Vector, kNumVectors> total{};
    std::array<Vector, kNumVectors> value{};
    std::memcpy(total.data(), totals, sizeof(total));
    std::memcpy(value.data(), values, sizeof(value));
    for (std::int64_t step = 0; step < count; ++step) {
      // No loop over them: then they are registers.
      ((std::get<kIndex>(total).lanes += std::get<kIndex>(value).lanes), ...);
    }
    std::memcpy(totals, total.data(), sizeof(total));
  }

  [[gnu::always_inline]] static void add(T* totals, const T* values, std::int64_t numel,
                                         std::int64_t count) {
    constexpr auto kVectors = std::make_index_sequence<kNumVectors>();
    std::int64_t begin = 0;
    for (; begin + kBlock <= numel; begin += kBlock) {
      add_block(totals + begin, values + begin, count, kVectors);
    }
    if (begin < numel) {
      const auto num_bytes = static_cast<std::size_t>(numel - begin) * sizeof(T);
      std::array<T, kBlockSize> last_totals = {};
      std::array<T, kBlockSize> last_values = {};
      std::memcpy(last_totals.data(), totals + begin, num_bytes);
      std::memcpy(last_values.data(), values + begin, num_bytes);
      add_block(last_totals.data(), last_values.data(), count, kVectors);
      std::memcpy(totals + begin, last_totals.data(), num_bytes);
    }
  }
};

template <class T>
using Add = void (*)(T* totals, const T* values, std::int64_t numel, std::int64_t count);

#ifdef __x86_64__
template <class T>
[[gnu::target("avx2")]] void add_on_avx2(T* totals, const T* values, std::int64_t numel,
                                         std::int64_t count) {
  Adder<T, 32>::add(totals, values, numel, count);
}

template <class T>
[[gnu::target("avx512f")]] void add_on_avx512(T* totals, const T* values, std::int64_t numel,
                                              std::int64_t count) {
  Adder<T, 64>::add(totals, values, numel, count);
}
#endif

// The fastest one that this processor can run.
template <class T>
Add<T> add_here() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") != 0) {
    return &add_on_avx512<T>;
  }
  if (__builtin_cpu_supports("avx2") != 0) {
    return &add_on_avx2<T>;
  }
#endif
  return &Adder<T, 16>::add;
}

}  // namespace

// NOLINTNEXTLINE(misc-const-correctness): what is called writes there
void add_stepwise(float* totals, const float* values, std::int64_t numel, std::int64_t count) {
  add_here<float>()(totals, values, numel, count);
}

// NOLINTNEXTLINE(misc-const-correctness): as above
void add_stepwise(double* totals, const double* values, std::int64_t numel, std::int64_t count) {
  add_here<double>()(totals, values, numel, count);
}

}  // namespace polyrank
