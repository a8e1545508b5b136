#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/exact_sum.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace polyrank {
namespace {

at::Tensor sum_of(const std::vector<double>& values, at::ScalarType dtype) {
  std::vector<at::Tensor> members;
  for (const double value : values) {
    members.push_back(at::tensor({value}, at::kDouble).to(dtype));
  }
  return exact_sum(members);
}

double summed(const std::vector<double>& values, at::ScalarType dtype) {
  return sum_of(values, dtype).to(at::kDouble).item<double>();
}

TEST(ExactSum, LosesNothingOnTheWay) {
  EXPECT_EQ(summed({1e100, 1, -1e100}, at::kDouble), 1);
  EXPECT_EQ(summed({16777216, 1, 1, -16777216}, at::kFloat), 2);
  EXPECT_EQ(summed({256, 1, 1}, at::kBFloat16), 258);
  EXPECT_EQ(summed({2048, 1, 1}, at::kHalf), 2050);
}

TEST(ExactSum, RoundsOnceAndTiesToEven) {
  EXPECT_EQ(summed({16777216, 1}, at::kFloat), 16777216);
  EXPECT_EQ(summed({16777218, 1}, at::kFloat), 16777220);
  // Just beyond a tie of float32, by less than float64 holds beside it.
  const double tiny = 0x1p-60;
  EXPECT_EQ(summed({16777216, 1, tiny}, at::kFloat), 16777218);
  EXPECT_EQ(summed({-16777216, -1, -tiny}, at::kFloat), -16777218);
  EXPECT_EQ(summed({16777218, 1, -tiny}, at::kFloat), 16777218);
  EXPECT_EQ(summed({256, 1, 0x1p-40}, at::kBFloat16), 258);
  EXPECT_EQ(summed({256, 1, -0x1p-40}, at::kBFloat16), 256);
  EXPECT_EQ(summed({9007199254740992, 1, 0x1p-60}, at::kDouble), 9007199254740994);
  EXPECT_EQ(summed({9007199254740994, 1, -0x1p-60}, at::kDouble), 9007199254740994);
}

TEST(ExactSum, DoesNotDependOnTheOrder) {  // (1)
  at::manual_seed(1);
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    std::vector<at::Tensor> members;
    for (int i = 0; i < 7; ++i) {
      members.push_back(
          (at::randn({50}, at::kDouble) * at::pow(2, at::randint(-8, 8, {50}))).to(dtype));
    }
    const at::Tensor sum = exact_sum(members);
    EXPECT_EQ(sum.scalar_type(), dtype);
    std::reverse(members.begin(), members.end());
    EXPECT_TRUE(exact_sum(members).equal(sum));
    if (dtype == at::kFloat) {  // whose sums float64 holds here
      EXPECT_TRUE(at::stack(members).to(at::kDouble).sum(0).to(at::kFloat).equal(sum));
    }
  }
}

TEST(ExactSum, KeepsShapesAndComplexNumbers) {
  const at::Tensor a = at::complex(at::ones({2, 3}), at::full({2, 3}, 2.0F));
  EXPECT_TRUE(exact_sum({a, a, a}).equal(a * 3));
  EXPECT_EQ(exact_sum({at::ones({0}), at::ones({0})}).numel(), 0);
}

TEST(ExactSum, IsNotFiniteWhereAddingIsNot) {  // (2)
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(summed({infinity, 1}, at::kFloat), infinity);
  EXPECT_TRUE(std::isnan(summed({infinity, -infinity}, at::kFloat)));
  EXPECT_EQ(summed({3e38, 3e38}, at::kFloat), infinity);
  EXPECT_EQ(summed({3e38, 3e38, -3e38}, at::kFloat), static_cast<double>(3e38F));
  EXPECT_EQ(summed({1e308, 1e308, -1e308}, at::kDouble), infinity);
}

}  // namespace
}  // namespace polyrank
