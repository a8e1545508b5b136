#include <gtest/gtest.h>
#include <polyrank/timeline/intervals.h>

#include <random>
#include <set>

namespace polyrank {
namespace {

std::set<std::int64_t> points(const std::vector<Interval>& intervals) {
  std::set<std::int64_t> points;
  for (const Interval& one : intervals) {
    for (std::int64_t at = one.start; at < one.end; ++at) {
      points.insert(at);
    }
  }
  return points;
}

std::vector<Interval> random_intervals(std::mt19937* random) {
  std::vector<Interval> intervals;
  const auto count = (*random)() % 12;
  for (unsigned i = 0; i < count; ++i) {
    const auto start = static_cast<std::int64_t>((*random)() % 60);
    intervals.push_back({start, start + static_cast<std::int64_t>((*random)() % 9)});
  }
  return intervals;
}

TEST(Intervals, TouchingOnesAreOne) {
  EXPECT_EQ(union_of({{5, 7}, {0, 2}, {2, 3}, {4, 4}}), (std::vector<Interval>{{0, 3}, {5, 7}}));
}

TEST(Intervals, OnePartCutsTwo) {
  EXPECT_EQ(without({{0, 4}, {5, 9}}, {{3, 6}}), (std::vector<Interval>{{0, 3}, {6, 9}}));
}

TEST(Intervals, AreSetsOfPoints) {
  std::mt19937 random(1);
  for (int run = 0; run < 2000; ++run) {
    const std::vector<Interval> some = random_intervals(&random);
    const std::vector<Interval> whole = union_of(some);
    ASSERT_EQ(points(whole), points(some));  // (2)
    for (std::size_t i = 0; i < whole.size(); ++i) {
      ASSERT_LT(whole[i].start, whole[i].end);  // (1)
      ASSERT_TRUE(i == 0 || whole[i - 1].end < whole[i].start);
    }
    const std::vector<Interval> parts = union_of(random_intervals(&random));
    std::set<std::int64_t> rest = points(whole);
    for (const std::int64_t point : points(parts)) {
      rest.erase(point);
    }
    const std::vector<Interval> left = without(whole, parts);
    ASSERT_EQ(points(left), rest);
    ASSERT_EQ(length_of(left), static_cast<std::int64_t>(rest.size()));
  }
}

}  // namespace
}  // namespace polyrank
