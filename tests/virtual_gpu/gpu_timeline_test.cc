#include <ATen/Functions.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <gtest/gtest.h>
#include <polyrank/virtual_gpu/gpu_timeline.h>
#include <polyrank/virtual_gpu/streams.h>
#include <polyrank/world/fake/fake_process_group.h>

#include "virtual_gpu/on.h"

namespace polyrank {
namespace {

const c10::Device kGpu{c10::kCUDA, 0};

// Kernels take a nanosecond for a byte, collectives 1000 ns and the time of their payload at
// 1 byte a nanosecond; the CPU 100 ns for an operator and 10 for a view.
ClusterSpeeds round_speeds() {
  ClusterSpeeds speeds;
  speeds.gpu.multiprocessors = 1;
  speeds.gpu.peak_flops.fill(1e12);
  speeds.gpu.matmul_efficiency.fill(1);
  speeds.gpu.tiles = {{1, 1}};
  speeds.gpu.memory_bytes = 1e9;
  speeds.gpu.memory_efficiency = {1, 1, 1};
  speeds.gpu.host_copy_bytes = 1e8;
  speeds.nccl.base_latency[1] = {1e6, 1e6, 1};  // of rings: Simple alone is worth it
  speeds.nccl.base_latency[0] = {1e6, 1e6, 1e6};
  speeds.links = {.gpu_links = 1,
                  .node_channel = 1,
                  .node_channels = 1,
                  .network = 0.5,
                  .network_cards = 2,
                  .gpus_per_node = 2};
  speeds.operator_time = 100;
  speeds.view_time = 10;
  speeds.collective_time = 50;
  return speeds;
}

class Timed {
 public:
  Timed() { keep_gpu_timeline(timeline); }
  ~Timed() { keep_gpu_timeline(nullptr); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

  const GpusWithoutBytesOn gpus;
  const std::shared_ptr<GpuTimeline> timeline = std::make_shared<GpuTimeline>(round_speeds());
};

TEST(GpuTimeline, OperatorsRunOnTheStreamThatIsCurrent) {
  const Timed timed;
  const at::Tensor tensor = at::empty({250}, on_gpu());  // runs no kernel
  const at::Tensor sum = tensor + tensor;                // 3000 bytes
  const c10::Stream other = new_gpu_stream(kGpu);
  {
    const c10::StreamGuard guard(other);
    tensor.zero_();  // 1000 bytes, beside it
  }
  tensor.view({25, 10});
  const TimeReport report = timed.timeline->whole_report();
  EXPECT_EQ(report.compute, 3000);  // from 110 to 3110, and from 210 to 1210
  EXPECT_EQ(report.end, 3110);
  EXPECT_EQ(report.host_busy, 220);
  EXPECT_EQ(report.by_name.at("aten::add").compute, 3000);
  EXPECT_EQ(report.by_name.at("aten::zero_").compute, 1000);
}

TEST(GpuTimeline, EventsOrderStreamsAndMeasureThem) {
  const Timed timed;
  const at::Tensor tensor = at::empty({250}, on_gpu());
  c10::Event before(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  c10::Event after(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  before.record(current_gpu_stream(kGpu));
  tensor.zero_();
  after.record(current_gpu_stream(kGpu));
  const c10::Stream other = new_gpu_stream(kGpu);
  after.block(other);
  {
    const c10::StreamGuard guard(other);
    tensor.zero_();
  }
  EXPECT_DOUBLE_EQ(before.elapsedTime(after), 1.1e-3);  // of launch and kernel
  EXPECT_EQ(timed.timeline->whole_report().end, 110 + 1000 + 1000);
}

TEST(GpuTimeline, TheHostWaitsForWhatItReads) {
  const Timed timed;
  const at::Tensor tensor = at::empty({250}, on_gpu());
  tensor.zero_();
  EXPECT_EQ(at::empty({}, on_gpu()).item<float>(), 1.0F);
  tensor.zero_();  // was not launched before the first one had ended
  const TimeReport report = timed.timeline->whole_report();
  EXPECT_EQ(report.compute, 2000);
  EXPECT_GE(report.idle.at({IdleCause::kHost, ""}), 110 + 100);
}

TEST(GpuTimeline, CopiesToTheHostAreWaitedFor) {
  const Timed timed;
  const at::Tensor tensor = at::empty({250}, on_gpu());
  tensor.cpu();  // 1000 bytes, ten nanoseconds each
  const TimeReport report = timed.timeline->whole_report();
  EXPECT_EQ(report.compute, 0);
  EXPECT_EQ(report.idle.at({IdleCause::kCopy, ""}), 10'000);
  EXPECT_GE(report.end, 10'110);
}

TEST(GpuTimeline, CollectivesRunBesideWhatIsComputed) {
  const Timed timed;
  const auto group = FakeProcessGroup::create(0, 2);
  std::vector<at::Tensor> tensors{at::empty({1000}, on_gpu())};  // 4000 bytes
  c10d::AllreduceOptions options;
  options.asyncOp = true;
  const auto work = group->allreduce(tensors, options);  // from 60 for 5000
  tensors[0].zero_();                                    // from 160 for 4000
  work->wait();
  tensors[0].zero_();
  const TimeReport report = timed.timeline->whole_report();
  EXPECT_EQ(report.communication, 5000);
  EXPECT_EQ(report.exposed, 1000);
  EXPECT_EQ(report.idle.at({IdleCause::kCommunication, "ranks 0-1"}), 900 + 60 - 60);
  EXPECT_EQ(report.end, 60 + 5000 + 4000);
}

TEST(GpuTimeline, WhoWaitsForAFutureWaitsForItsCollective) {
  const Timed timed;
  const auto group = FakeProcessGroup::create(0, 2);
  std::vector<at::Tensor> tensors{at::empty({1000}, on_gpu())};
  c10d::AllreduceOptions options;
  options.asyncOp = true;
  const auto future = group->allreduce(tensors, options)->getFuture();
  tensors[0].zero_();  // beside it
  future->wait();
  tensors[0].zero_();
  const TimeReport report = timed.timeline->whole_report();
  EXPECT_EQ(report.exposed, 1000);
  EXPECT_EQ(report.by_name.at("all_reduce").exposed, 1000);
  EXPECT_GE(report.end, 60 + 5000 + 4000);
}

TEST(GpuTimeline, ACollectiveThatIsNotWaitedForTakesTheCurrentStream) {
  const Timed timed;
  const auto group = FakeProcessGroup::create(0, 2);
  std::vector<at::Tensor> tensors{at::empty({1000}, on_gpu())};
  c10d::AllreduceOptions options;
  options.asyncOp = false;
  group->allreduce(tensors, options);
  tensors[0].zero_();
  const TimeReport report = timed.timeline->whole_report();
  EXPECT_EQ(report.exposed, 5000);
  EXPECT_EQ(report.end, 60 + 5000 + 4000);
}

TEST(GpuTimeline, TensorsOfTheCpuTakeNoTimeOfTheGpu) {
  const Timed timed;
  const auto group = FakeProcessGroup::create(0, 2);
  std::vector<at::Tensor> tensors{at::empty({1000})};
  group->allreduce(tensors, {})->wait();
  EXPECT_EQ(timed.timeline->whole_report().end, 0);
}

TEST(GpuTimeline, MessagesToAnotherNodeTakeTheNetwork) {
  const auto time_to = [](int peer) {
    const Timed timed;
    const auto group = FakeProcessGroup::create(0, 4);
    std::vector<at::Tensor> tensors{at::empty({1000}, on_gpu())};
    group->send(tensors, peer, 0)->wait();
    return timed.timeline->whole_report().communication;
  };
  EXPECT_EQ(time_to(1), 1000 + 4000);
  EXPECT_EQ(time_to(2), 1000 + 8000);  // the network is half as fast
}

TEST(GpuTimeline, MessagesFromAnyoneTakeTheSlowerWay) {
  const Timed timed;
  const auto group = FakeProcessGroup::create(0, 4);
  std::vector<at::Tensor> tensors{at::empty({1000}, on_gpu())};
  group->recvAnysource(tensors, 0)->wait();
  EXPECT_EQ(timed.timeline->whole_report().communication, 1000 + 8000);
}

TEST(GpuTimeline, AGroupIsItsMembersAndNotItsName) {
  const Timed timed;
  const auto rank = std::make_shared<const FakeRank>(0);
  const auto in_node =
      FakeProcessGroup::of_member({GroupFamily::single(std::vector<std::int64_t>{0, 1}), rank});
  const auto between =
      FakeProcessGroup::of_member({GroupFamily::single(std::vector<std::int64_t>{0, 2}), rank});
  std::vector<at::Tensor> tensors{at::empty({1000}, on_gpu())};
  in_node->allreduce(tensors, {})->wait();
  EXPECT_EQ(timed.timeline->whole_report().communication, 1000 + 4000);
  between->allreduce(tensors, {})->wait();  // has no name, either
  EXPECT_EQ(timed.timeline->whole_report().communication, 1000 + 4000 + 1000 + 8000);
}

TEST(GpuTimeline, ARecordingSaysWhoMeets) {
  const Timed timed;
  const auto group = FakeProcessGroup::create(1, 4);
  std::vector<at::Tensor> tensors{at::empty({1000}, on_gpu())};
  group->allreduce(tensors, {})->wait();
  group->send(tensors, 2, 0)->wait();
  group->recv(tensors, 2, 0)->wait();
  group->send(tensors, 2, 7)->wait();
  group->recvAnysource(tensors, 0)->wait();
  const RankRecording recording = timed.timeline->recording(1);
  EXPECT_EQ(recording.rank, 1);
  std::vector<std::int64_t> series;
  series.reserve(recording.works.size());
  for (const Work& work : recording.works) {
    series.push_back(work.facts.series);
  }
  EXPECT_EQ(series, (std::vector<std::int64_t>{0, 1, 2, 1, WorkFacts::kAlone}));
  ASSERT_EQ(recording.series.size(), 3U);
  EXPECT_EQ(recording.series[0].ranks, (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(recording.series[1].ranks, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(recording.series[2].ranks, (std::vector<std::int64_t>{2, 1}));
  EXPECT_NE(recording.series[0].name, recording.series[1].name);
  EXPECT_EQ(replay_together({recording}).at(0).makespan(), timed.timeline->whole_report().end);
}

TEST(GpuTimeline, NothingIsTimedWhereNoTimelineIsKept) {
  const GpusWithoutBytesOn gpus;
  EXPECT_EQ(gpu_timeline(), nullptr);
  c10::Event event(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  event.record(current_gpu_stream(kGpu));
  const Timed timed;
  event.block(current_gpu_stream(kGpu));  // of no timeline: nothing to wait for
  EXPECT_EQ(timed.timeline->whole_report().end, 0);
}

}  // namespace
}  // namespace polyrank
