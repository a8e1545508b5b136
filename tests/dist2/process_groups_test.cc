#include <ATen/Functions.h>
#include <dist2/scoped_variable.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/process_groups.h>

#include <stdexcept>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

namespace polyrank::dist2 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Endpoint endpoint(int rank, int world_size) {
  return {c10::make_intrusive<c10d::HashStore>(), rank, world_size};
}

TEST(ProcessGroups, AFactoryGetsWhatNewGroupWasGiven) {
  GroupRequest seen;
  register_backend("groups_test", [&](const GroupRequest& request) {
    seen = request;
    return c10::make_intrusive<c10d::ProcessGroup>(request.store, request.rank, request.world_size);
  });
  const Endpoint given = endpoint(1, 3);
  const ProcessGroup group = new_group("groups_test", milliseconds(1500),
                                       c10::Device(c10::kCUDA, 1), {{"depth", 7}}, given);
  EXPECT_EQ(group->getRank(), 1);
  EXPECT_EQ(seen.store, given.store);
  EXPECT_EQ(seen.store->getTimeout(), milliseconds(1500));
  EXPECT_EQ(seen.timeout, milliseconds(1500));
  EXPECT_EQ(seen.device, c10::Device(c10::kCUDA, 1));
  EXPECT_EQ(seen.options.at("depth").toInt(), 7);
}

TEST(ProcessGroups, WhatIsLeftOpenComesFromTheEnvironment) {
  const ScopedVariable world_size("WORLD_SIZE", "8");
  const Store store = c10::make_intrusive<c10d::HashStore>();
  const auto request = [&](const Endpoint& given) {
    return request_for("gloo", milliseconds(1000), c10::kCPU, {}, given);
  };
  {
    const ScopedVariable rank("RANK", "3");
    EXPECT_EQ(request({.store = store}).rank, 3);
    EXPECT_EQ(request({.store = store}).world_size, 8);
  }
  const ScopedVariable rank("RANK", nullptr);
  EXPECT_EQ(request({.store = store, .rank = 1}).rank, 1);
  EXPECT_EQ(request({.store = store, .rank = 1}).world_size, 8);
  EXPECT_THAT([&] { request({.store = store}); }, ThrowsMessage<UsageError>(HasSubstr("RANK")));
}

TEST(ProcessGroups, RanksAndTimeoutsAreChecked) {
  EXPECT_THAT([] { new_group("gloo", milliseconds(100), c10::kCPU, {}, endpoint(2, 2)); },
              ThrowsMessage<UsageError>(HasSubstr("of 2 ranks has no rank 2; valid: 0..1")));
  EXPECT_THAT([] { new_group("gloo", milliseconds(0), c10::kCPU, {}, endpoint(0, 1)); },
              ThrowsMessage<UsageError>(HasSubstr("a time-out of 0 ms")));
}

TEST(ProcessGroups, TheCurrentOneIsTheThreadsAndComesBack) {
  const auto group = c10::make_intrusive<c10d::ProcessGroup>(0, 1);
  const auto other = c10::make_intrusive<c10d::ProcessGroup>(0, 1);
  EXPECT_EQ(current_process_group(), ProcessGroup());
  {
    const ProcessGroupGuard guard(group);
    EXPECT_EQ(current_process_group(), group);
    const auto fail_inside = [&] {
      const ProcessGroupGuard inner(other);
      EXPECT_EQ(current_process_group(), other);
      throw std::runtime_error("out of the scope");
    };
    EXPECT_THROW(fail_inside(), std::runtime_error);
    EXPECT_EQ(current_process_group(), group);
    std::thread([] { EXPECT_EQ(current_process_group(), ProcessGroup()); }).join();
  }
  EXPECT_EQ(current_process_group(), ProcessGroup());
}

}  // namespace
}  // namespace polyrank::dist2
