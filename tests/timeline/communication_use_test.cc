#include <gtest/gtest.h>
#include <polyrank/timeline/communication_use.h>

namespace polyrank {
namespace {

constexpr double kMegabytes = 1e6;

GpuSpeeds gpu() {
  GpuSpeeds gpu;
  gpu.multiprocessors = 132;
  gpu.memory_bytes = 2.4e12;
  gpu.memory_efficiency = {0.5, 0.5, 0.5};
  return gpu;
}

NcclTables tables() {
  NcclTables tables;
  tables.memory_passes = 3;
  return tables;
}

NcclLinks links() {
  return {.gpu_links = 400, .network = 50, .network_cards = 8, .gpus_per_node = 8};
}

// What goes over links is of no matter to multiprocessors and memory.
GpuUse use_of(CollectiveKind kind, const NcclGroup& group, double bytes, const NcclChoice& choice) {
  return communication_use(kind, group, bytes, choice, {}, tables(), links(), gpu());
}

NcclChoice in_a_millisecond(double channels) {
  return {.algorithm = NcclAlgorithm::kRing,
          .protocol = NcclProtocol::kSimple,
          .nanoseconds = 1e6,
          .channels = channels};
}

TEST(CommunicationUse, IsItsChannelsAndWhatItMovesThroughTheMemory) {
  const GpuUse use =
      use_of(CollectiveKind::kAllGather, {.ranks = 8}, 160 * kMegabytes, in_a_millisecond(24));
  EXPECT_DOUBLE_EQ(use.multiprocessors, 24.0 / 132);
  // 7 of 8 parts come over links, and go through the memory three times: 420 MB in a millisecond.
  EXPECT_DOUBLE_EQ(use.memory, 0.42 / 1.2);
}

TEST(CommunicationUse, AllReducesMoveTwiceAsMuch) {
  const auto use = [](CollectiveKind kind) {
    return use_of(kind, {.ranks = 4}, 40 * kMegabytes, in_a_millisecond(8));
  };
  EXPECT_DOUBLE_EQ(use(CollectiveKind::kAllReduce).memory,
                   2 * use(CollectiveKind::kReduceScatter).memory);
}

TEST(CommunicationUse, IsAShare) {  // (1), (2)
  const GpuUse most = use_of(CollectiveKind::kAllGather, {.ranks = 8}, 1e12, in_a_millisecond(500));
  EXPECT_EQ(most.multiprocessors, 1);
  EXPECT_EQ(most.memory, 1);
  const GpuUse none = use_of(CollectiveKind::kAllGather, {.ranks = 1}, 1e9, in_a_millisecond(24));
  EXPECT_EQ(none.multiprocessors, 0);
  EXPECT_EQ(none.memory, 0);
}

TEST(CommunicationUse, IsTheTimeThatItsBytesTakeOnEachLink) {
  const GpuUse use = communication_use(CollectiveKind::kAllGather, {.ranks = 16, .nodes = 2}, 1,
                                       in_a_millisecond(1), {100 * kMegabytes, 0, 0, 1e12},
                                       tables(), links(), gpu());
  EXPECT_EQ(use.links, (ByLink{0.25, 0, 0, 1}));
}

}  // namespace
}  // namespace polyrank
