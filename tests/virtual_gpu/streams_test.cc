#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/streams.h>

#include <thread>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const c10::Device kGpu{c10::kCUDA, 0};

TEST(Streams, AreCurrentForOneThreadAndGpu) {
  const VirtualGpusOn on(2);
  const c10::Stream stream = new_gpu_stream(kGpu);
  const c10::Stream before = exchange_gpu_stream(stream);
  EXPECT_EQ(before.id(), 0);
  EXPECT_EQ(current_gpu_stream(kGpu), stream);
  EXPECT_EQ(current_gpu_stream({c10::kCUDA, 1}).id(), 0);
  std::thread([] { EXPECT_EQ(current_gpu_stream(kGpu).id(), 0); }).join();
  exchange_gpu_stream(before);
  EXPECT_NE(new_gpu_stream(kGpu), stream);
}

TEST(Streams, GuardsSetDeviceAndStream) {
  const VirtualGpusOn on(2);
  const c10::Stream stream = new_gpu_stream({c10::kCUDA, 1});
  {
    const c10::StreamGuard guard(stream);
    EXPECT_EQ(current_gpu(), 1);
    EXPECT_EQ(current_gpu_stream({c10::kCUDA, 1}), stream);
  }
  EXPECT_EQ(current_gpu(), 0);
  EXPECT_THAT([] { const c10::DeviceGuard guard(c10::Device(c10::kCUDA, 2)); },
              ThrowsMessage<c10::Error>(HasSubstr("invalid device ordinal")));
}

TEST(Streams, GuardsOfWhatOutlivesTheGpusDoNothing) {
  {
    const VirtualGpusOn on;
  }
  const c10::DeviceGuard guard(c10::Device(c10::kCUDA, 0));
  EXPECT_EQ(current_gpu(), 0);
}

TEST(Streams, EventsKnowWhenTheyHappened) {
  const VirtualGpusOn on;
  c10::Event start(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  c10::Event end(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  start.record(current_gpu_stream(kGpu));
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  end.record(current_gpu_stream(kGpu));
  EXPECT_TRUE(end.query());
  EXPECT_GE(start.elapsedTime(end), 2.0);
  EXPECT_THAT([] { elapsed_gpu_time(0, 0); },
              ThrowsMessage<c10::Error>(HasSubstr("must be recorded")));
}

TEST(Streams, ComeFromAPoolOfEachPriority) {
  const VirtualGpusOn on;
  const c10::Stream first = new_gpu_stream(kGpu);
  for (c10::StreamId i = 1; i < kStreamsPerPool; ++i) {
    EXPECT_NE(new_gpu_stream(kGpu), first);
  }
  EXPECT_EQ(new_gpu_stream(kGpu), first);
  EXPECT_GT(new_gpu_stream(kGpu, -1).id(), kStreamsPerPool);
  EXPECT_EQ(gpu_stream_of_handle(kGpu, static_cast<std::uintptr_t>(first.id())), first);
  EXPECT_THAT([] { gpu_stream_of_handle(kGpu, 0x7f0000001000); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("streams of other libraries")));
}

TEST(Streams, EventsAreOfOneGpu) {
  const VirtualGpusOn on(2);
  c10::Event event(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  event.record(current_gpu_stream(kGpu));
  const c10::Stream other = current_gpu_stream({c10::kCUDA, 1});
  EXPECT_THAT([&] { event.record(other); },
              ThrowsMessage<c10::Error>(HasSubstr("does not match recording stream's device 1")));
  event.block(other);
  c10::Event on_other(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  on_other.record(other);
  EXPECT_THAT([&] { event.elapsedTime(on_other); },
              ThrowsMessage<c10::Error>(HasSubstr("events of different GPUs")));
}

}  // namespace
}  // namespace polyrank
