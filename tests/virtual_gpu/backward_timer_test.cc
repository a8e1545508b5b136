#include <c10/core/Device.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/backward_timer.h>

#include <torch/csrc/distributed/c10d/reducer_timer.hpp>

namespace polyrank {

namespace {

using Event = c10d::Timer::Event;

TEST(GpuTimer, TellsTheTimeBetweenEventsOfOneStep) {
  place_gpu_timer();
  place_gpu_timer();
  const auto timer = c10d::TimerRegistry()->Create(c10::kCUDA, c10::Device(c10::kCUDA, 0));
  ASSERT_NE(timer, nullptr);
  EXPECT_FALSE(timer->measureDifference(Event::kForwardStart, Event::kBackwardComputeStart));
  timer->record(Event::kForwardStart);
  EXPECT_FALSE(timer->measureDifference(Event::kForwardStart, Event::kBackwardComputeStart));
  timer->record(Event::kBackwardComputeStart);
  const auto difference =
      timer->measureDifference(Event::kForwardStart, Event::kBackwardComputeStart);
  ASSERT_TRUE(difference);
  EXPECT_EQ(*difference, *timer->getTimestamp(Event::kBackwardComputeStart) -
                             *timer->getTimestamp(Event::kForwardStart));
  // (the end of an earlier step)
  timer->getTimeRef(Event::kForwardStart) = *timer->getTimestamp(Event::kBackwardComputeStart) + 1;
  EXPECT_FALSE(timer->measureDifference(Event::kForwardStart, Event::kBackwardComputeStart));
}

}  // namespace

}  // namespace polyrank
