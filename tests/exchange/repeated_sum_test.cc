#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/repeated_sum.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace polyrank {
namespace {

// Law (1): bit for bit what the operator gives, called `count` times.
void check_sum(const at::Tensor& total, const at::Tensor& value, std::int64_t count) {
  const at::Tensor wanted = total.clone();
  for (std::int64_t n = 0; n < count; ++n) {
    wanted.add_(value);
  }
  at::Tensor sum = total.clone();
  ASSERT_TRUE(add_repeatedly(sum, value, count));
  const auto same = sum.eq(wanted).logical_and(sum.signbit().eq(wanted.signbit()));
  const auto both_nan = sum.isnan().logical_and(wanted.isnan());
  const at::Tensor wrong = same.logical_or(both_nan).logical_not();
  ASSERT_FALSE(wrong.any().item<bool>())
      << total.scalar_type() << ", " << count << " times: " << total.masked_select(wrong) << " + "
      << value.masked_select(wrong) << " gave " << sum.masked_select(wrong) << ", not "
      << wanted.masked_select(wrong);
}

// Every bit pattern is as likely as any other: all magnitudes, subnormals, infinities, NaN.
at::Tensor any_floats(c10::ScalarType dtype, std::int64_t numel) {
  const auto width = static_cast<std::int64_t>(c10::elementSize(dtype));
  return at::randint(-128, 128, {numel * width}, at::kChar).view(dtype);
}

class RepeatedSum : public ::testing::TestWithParam<c10::ScalarType> {
 protected:
  static constexpr std::int64_t kNumel = 20'000;
  void SetUp() override { at::manual_seed(0); }
};

TEST_P(RepeatedSum, OfOneValueFromItselfOn) {
  for (const std::int64_t count : {1, 2, 3, 5, 64, 1000, 4097}) {
    const at::Tensor value = any_floats(GetParam(), kNumel);
    check_sum(value, value, count);
  }
}

TEST_P(RepeatedSum, OfValuesOfOtherMagnitudesAndSigns) {
  for (const std::int64_t count : {1, 2, 3, 5, 64, 1000, 4097}) {
    check_sum(any_floats(GetParam(), kNumel), any_floats(GetParam(), kNumel), count);
    const at::Tensor value = any_floats(GetParam(), kNumel);
    for (const double factor : {0.75, 3.0, -7.0, 130.5, -1021.0, 4096.0}) {  // near, and in ties
      check_sum((value * factor).to(GetParam()), value, count);
    }
  }
}

TEST_P(RepeatedSum, OfFewUnitsAndHalvesOfThem) {
  std::vector<double> totals;
  std::vector<double> values;
  for (const double unit : {1.0, 0.5, 1.5, 2.5, 3.0}) {
    for (int place = 0; place < 256; ++place) {
      for (const double sign : {1.0, -1.0}) {
        totals.push_back(128.0 + place);
        values.push_back(sign * unit / 2);
        totals.push_back(-1024.0 - 4 * place);
        values.push_back(sign * unit);
      }
    }
  }
  for (const std::int64_t count : {1, 2, 3, 100, 3000}) {
    check_sum(at::tensor(totals).to(GetParam()), at::tensor(values).to(GetParam()), count);
  }
}

TEST_P(RepeatedSum, OfManySteps) {
  const at::Tensor value = at::rand({64}).to(GetParam());
  check_sum(value, value, (1 << 17) - 1);
  check_sum(value, at::neg(value), 1 << 17);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, RepeatedSum,
                         ::testing::Values(at::kFloat, at::kDouble, at::kHalf, at::kBFloat16));

TEST(RepeatedSumOfOthers, IntegersWrap) {
  for (const c10::ScalarType dtype : {at::kByte, at::kChar, at::kShort, at::kInt, at::kLong}) {
    const at::Tensor value = at::randint(0, 120, {100}, dtype);
    for (const std::int64_t count : {1, 2, 300, 5000}) {
      const at::Tensor wanted = value.clone();
      for (std::int64_t n = 0; n < count; ++n) {
        wanted.add_(value);
      }
      at::Tensor sum = value.clone();
      ASSERT_TRUE(add_repeatedly(sum, value, count));
      EXPECT_TRUE(at::equal(sum, wanted)) << dtype << " " << count;
    }
  }
}

TEST(RepeatedSumOfOthers, ComplexNumbersByTheirParts) {
  const at::Tensor value = at::randn({100}, at::kComplexFloat);
  const at::Tensor wanted = value.clone();
  for (int n = 0; n < 3000; ++n) {
    wanted.add_(value);
  }
  at::Tensor sum = value.clone();
  ASSERT_TRUE(add_repeatedly(sum, value, 3000));
  EXPECT_TRUE(at::equal(sum, wanted));
}

TEST(RepeatedSumOfOthers, WhatItDoesNotKnowIsLeftAsItIs) {
  at::Tensor flags = at::zeros({2}, at::kBool);
  EXPECT_FALSE(add_repeatedly(flags, at::ones({2}, at::kBool), 3));
  EXPECT_FALSE(flags.any().item<bool>());
  at::Tensor meta = at::zeros({2}, at::kMeta);
  EXPECT_FALSE(add_repeatedly(meta, at::zeros({2}, at::kMeta), 3));
}

}  // namespace
}  // namespace polyrank
