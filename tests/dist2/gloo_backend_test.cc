#include <ATen/Functions.h>
#include <dist2/gloo_ranks.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

namespace polyrank::dist2 {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(GlooBackend, MakesTheGroupThatPyTorchsFactoryMakes) {
  run_gloo(2, [](const ProcessGroup& group) {
    EXPECT_EQ(group->getBackendType(), c10d::ProcessGroup::BackendType::GLOO);
    EXPECT_EQ(group->getBackendName(), "gloo");
    EXPECT_EQ(group->getBackend(c10::kCPU)->getBackendOptions()->timeout, kTestTimeout);
    EXPECT_FALSE(group->hasBackendForDeviceType(c10::kCUDA));
    auto x = full(group->getRank() + 1.0);
    group->allreduce(x)->wait();
    EXPECT_EQ(x.front()[0].item<double>(), 3);
  });
}

TEST(GlooBackend, ServesTheDeviceThatWasAskedForBesideTheCpu) {
  run_requests(1, [](const GroupRequest& request) {
    GroupRequest for_xpu = request;
    for_xpu.device = c10::kXPU;
    const ProcessGroup group = make_gloo_group(for_xpu);
    EXPECT_EQ(group->getBackend(c10::kXPU), group->getBackend(c10::kCPU));
  });
}

TEST(GlooBackend, HasNoOptions) {
  EXPECT_THAT([] { make_gloo_group({.options = {{"threads", 4}}}); },
              ThrowsMessage<UsageError>(HasSubstr("unexpected kwargs: it has no options; given: "
                                                  "threads")));
}

TEST(GlooBackend, WaitsForMembersNoLongerThanItWasTold) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  EXPECT_THAT(
      [&] {
        make_gloo_group({.store = store,
                         .rank = 0,
                         .world_size = 2,
                         .timeout = std::chrono::milliseconds(200)});
      },
      ThrowsMessage<CollectiveError>(HasSubstr("rank 1 did not come within 200 ms")));
}

}  // namespace
}  // namespace polyrank::dist2
