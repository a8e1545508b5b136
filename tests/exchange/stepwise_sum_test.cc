#include <gtest/gtest.h>
#include <polyrank/exchange/stepwise_sum.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace polyrank {
namespace {

// Lengths around whole blocks on any processor; what lies behind the end is not touched.
template <class T>
void check_all_lengths() {
  for (std::int64_t numel = 0; numel < 300; ++numel) {
    for (const std::int64_t count : {0, 1, 7}) {
      std::vector<T> totals(static_cast<std::size_t>(numel) + 1);
      std::vector<T> values(totals.size());
      for (std::size_t i = 0; i < totals.size(); ++i) {
        totals[i] = static_cast<T>(i % 17) / 7;
        values[i] = static_cast<T>(i % 23) / -3;
      }
      std::vector<T> wanted = totals;
      for (std::int64_t step = 0; step < count; ++step) {
        for (std::size_t i = 0; i + 1 < wanted.size(); ++i) {
          wanted[i] += values[i];
        }
      }
      add_stepwise(totals.data(), values.data(), numel, count);
      ASSERT_EQ(totals, wanted) << numel << " elements, " << count << " steps";
    }
  }
}

TEST(StepwiseSumTest, EachStepIsRoundedAtAnyLength) {
  check_all_lengths<float>();
  check_all_lengths<double>();
}

}  // namespace
}  // namespace polyrank
