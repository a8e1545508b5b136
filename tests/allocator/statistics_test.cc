#include <gtest/gtest.h>
#include <polyrank/allocator/statistics.h>

namespace polyrank {
namespace {

TEST(Statistics, AFigureKeepsItsPeakAndItsSums) {
  MemoryFigure figure;
  figure.increase(5);
  figure.decrease(3);
  figure.increase(1);
  EXPECT_EQ(figure.current, 3);
  EXPECT_EQ(figure.peak, 5);
  EXPECT_EQ(figure.allocated, 6);
  EXPECT_EQ(figure.freed, 3);
  figure.reset_peak();
  figure.reset_accumulated();
  EXPECT_EQ(figure.peak, 3);
  EXPECT_EQ(figure.allocated, 0);
  EXPECT_EQ(figure.current, 3);
}

TEST(Statistics, BothPoolsAddUp) {
  PoolFigure figure;
  figure.increase(/*is_small=*/true, 2);
  figure.increase(/*is_small=*/false, 7);
  figure.decrease(/*is_small=*/false, 3);
  EXPECT_EQ(figure.all.current, 6);
  EXPECT_EQ(figure.small_pool.current, 2);
  EXPECT_EQ(figure.large_pool.current, 4);
}

TEST(Statistics, ResetsReachEveryFigure) {
  AllocatorStatistics statistics;
  for (const auto& [name, figure] : pool_figures()) {
    (statistics.*figure).increase(true, 4);
    (statistics.*figure).decrease(true, 3);
  }
  for (const auto& [name, figure] : oversize_figures()) {
    (statistics.*figure).increase(4);
    (statistics.*figure).decrease(3);
  }
  for (const auto& [name, count] : counts()) {
    statistics.*count = 9;
  }
  statistics.reset_peaks();
  statistics.reset_accumulated();
  for (const auto& [name, figure] : pool_figures()) {
    EXPECT_EQ((statistics.*figure).all.peak, 1) << name;
    EXPECT_EQ((statistics.*figure).small_pool.allocated, 0) << name;
    EXPECT_EQ((statistics.*figure).all.current, 1) << name;
  }
  for (const auto& [name, figure] : oversize_figures()) {
    EXPECT_EQ((statistics.*figure).peak, 1) << name;
  }
  for (const auto& [name, count] : counts()) {
    EXPECT_EQ(statistics.*count, 0) << name;
  }
}

}  // namespace
}  // namespace polyrank
