#include <gtest/gtest.h>
#include <polyrank/timeline/shared_gpu.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace polyrank {
namespace {

constexpr GpuUse kMatmul{.multiprocessors = 1, .memory = 0.25};
constexpr GpuUse kCopy{.multiprocessors = 0, .memory = 1};
constexpr GpuUse kGather{.multiprocessors = 0.2, .memory = 0.5};

TEST(PaceBeside, IsOfWhatTheWorkIsShortestOf) {  // (1), (3)
  EXPECT_DOUBLE_EQ(pace_beside(kMatmul, {}), 1);
  EXPECT_DOUBLE_EQ(pace_beside(kMatmul, kGather), 0.8);
  EXPECT_DOUBLE_EQ(pace_beside(kCopy, kGather), 0.5);
  EXPECT_DOUBLE_EQ(pace_beside({.multiprocessors = 0.1, .memory = 0.4}, kGather), 1);
  EXPECT_GT(pace_beside(kMatmul, {.multiprocessors = 3, .memory = 3}), 0);
}

TEST(PaceBeside, IsNeverLessForLessTaken) {  // (2)
  std::mt19937 random(7);  // NOLINT(bugprone-random-generator-seed): the same in every run
  std::uniform_real_distribution<double> share(0, 1.5);
  for (int i = 0; i < 1000; ++i) {
    const GpuUse wanted{.multiprocessors = share(random), .memory = share(random)};
    const GpuUse taken{.multiprocessors = share(random), .memory = share(random)};
    const GpuUse less{.multiprocessors = taken.multiprocessors / 2, .memory = taken.memory};
    EXPECT_LE(pace_beside(wanted, taken), pace_beside(wanted, less));
  }
}

TEST(SharedGpu, SlowsWhatRunsMeanwhile) {
  SharedGpu gpu;
  gpu.hold(100, 200, kGather);
  EXPECT_EQ(gpu.duration(0, 100, kMatmul), 100);
  EXPECT_EQ(gpu.duration(200, 100, kMatmul), 100);
  EXPECT_EQ(gpu.duration(100, 80, kMatmul), 100);
  EXPECT_EQ(gpu.duration(0, 180, kMatmul), 200);   // 100 alone, 80 in the next 100
  EXPECT_EQ(gpu.duration(50, 1000, kCopy), 1050);  // 50 of its 100 beside are lost
  EXPECT_EQ(gpu.duration(100, 0, kMatmul), 0);
}

TEST(SharedGpu, WhatRunsAtOnceAddsUp) {
  SharedGpu gpu;
  gpu.hold(0, 100, kGather);
  gpu.hold(0, 50, kGather);
  EXPECT_EQ(gpu.duration(0, 70, {.multiprocessors = 1}),
            100);  // 30 of the first 50, 40 of the others
}

TEST(SharedGpu, PacesAddUpToTheWork) {  // (4), (5), (6)
  std::mt19937 random(11);  // NOLINT(bugprone-random-generator-seed): the same in every run
  const auto draw = [&](int below) {
    return static_cast<int>(random() % static_cast<unsigned>(below));
  };
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    SharedGpu gpu;
    constexpr int kEnd = 400;
    std::vector<GpuUse> taken(kEnd);  // of each nanosecond
    for (int i = draw(6); i > 0; --i) {
      const int start = draw(100);
      const int end = start + draw(60);
      const GpuUse use{.multiprocessors = draw(10) / 10.0, .memory = draw(10) / 10.0};
      gpu.hold(start, end, use);
      for (int now = start; now < end; ++now) {
        taken[static_cast<std::size_t>(now)].multiprocessors += use.multiprocessors;
        taken[static_cast<std::size_t>(now)].memory += use.memory;
      }
    }
    const GpuUse wanted{.multiprocessors = draw(11) / 10.0, .memory = draw(11) / 10.0};
    const int start = draw(100);
    const int alone = draw(20);
    double left = alone;
    double end = start;
    while (left > 1e-9) {
      const double pace = pace_beside(wanted, taken.at(static_cast<std::size_t>(end)));
      const double step = std::min(1.0, left / pace);
      left -= step * pace;
      end += step;
    }
    const std::int64_t duration = gpu.duration(start, alone, wanted);
    EXPECT_NEAR(static_cast<double>(duration), end - start, 0.51);
    EXPECT_GE(duration, alone);
  }
}

TEST(PaceOnLinks, IsWhatIsLeftOfTheBusiestLink) {
  constexpr GpuUse kBoth{.links = {0.5, 0.5, 1, 1}};
  EXPECT_EQ(pace_on_links(kBoth, {}), 1);
  EXPECT_EQ(pace_on_links(kBoth, {.links = {0.5, 0, 0, 0}}), 1);
  EXPECT_DOUBLE_EQ(pace_on_links(kBoth, {.links = {0, 0, 0.25, 0}}), 0.75);
  EXPECT_EQ(pace_on_links(kBoth, {.links = {0, 0, 0, 1}}), 0);
  EXPECT_EQ(pace_on_links({.links = {1, 0, 0, 0}}, {.links = {0, 1, 0, 0}}), 1);  // other direction
}

TEST(SharedGpu, TheSameLinkIsGivenInTheOrderOfLaunches) {
  SharedGpu gpu;
  constexpr GpuUse kWhole{.links = {1, 0, 0, 0}};
  EXPECT_EQ(gpu.communicate(0, 10, kWhole), 10);
  EXPECT_EQ(gpu.communicate(0, 10, kWhole), 20);
  EXPECT_EQ(gpu.communicate(0, 10, kWhole), 30);
  EXPECT_EQ(gpu.communicate(5, 10, {.links = {0, 1, 0, 0}}), 10);
}

TEST(SharedGpu, NoLinkCarriesMoreThanItCan) {  // (7)
  std::mt19937 random(5);  // NOLINT(bugprone-random-generator-seed): the same in every run
  const auto draw = [&](int below) {
    return static_cast<int>(random() % static_cast<unsigned>(below));
  };
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(round);
    SharedGpu gpu;
    double work = 0;  // of one link, in nanoseconds of all of it
    std::int64_t first = 1000;
    std::int64_t last = 0;
    for (int i = 0; i < 6; ++i) {
      const std::int64_t start = draw(40);
      const std::int64_t alone = draw(30);
      const double share = draw(11) / 10.0;
      const std::int64_t duration = gpu.communicate(start, alone, {.links = {share, 0, 0, 0}});
      EXPECT_GE(duration, alone);
      work += share * static_cast<double>(alone);
      if (share > 0 && alone > 0) {
        first = std::min(first, start);
        last = std::max(last, start + duration);
      }
    }
    EXPECT_GE(static_cast<double>(last - first) + 6, work);  // each may be rounded
  }
}

}  // namespace
}  // namespace polyrank
