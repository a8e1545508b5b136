#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/api/run_processes.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/rank_backend.h>

#include <functional>
#include <string>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using Tensors = std::vector<at::Tensor>;
using Program = std::function<Tensors(RankContext&)>;

std::vector<Tensors> on_threads(std::int64_t world_size, const Program& program) {
  std::vector<Tensors> results(static_cast<std::size_t>(world_size));
  run_ranks(world_size, [&](RankContext& context) {
    results[static_cast<std::size_t>(context.rank())] = program(context);
  });
  return results;
}

using Run = std::vector<Tensors> (*)(std::int64_t, const Program&);
class RankBackendTest : public ::testing::TestWithParam<Run> {
 protected:
  static std::string error_of(const Program& program) {
    try {
      GetParam()(3, program);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  }
};
INSTANTIATE_TEST_SUITE_P(Worlds, RankBackendTest,
                         ::testing::Values(&on_threads, static_cast<Run>([](std::int64_t size,
                                                                            const Program& p) {
                           return run_processes(size, p);
                         })),
                         [](const auto& run) { return run.index == 0 ? "Threads" : "Processes"; });

Tensors rank_tensor(const RankContext& context) {
  return {at::full({2}, static_cast<double>(context.rank()))};
}

TEST_P(RankBackendTest, ACoalescedBatchIsOneWork) {
  const auto results = GetParam()(3, [](RankContext& context) {
    Tensors sent = rank_tensor(context);
    Tensors received{at::zeros({2})};
    context.world().startCoalescing();
    context.world().recv(received, static_cast<int>((context.rank() + 2) % 3), 0);
    context.world().send(sent, static_cast<int>((context.rank() + 1) % 3), 0);
    const auto all = context.world().endCoalescing();
    all->wait();
    EXPECT_EQ(all->result().size(), 1U);
    return received;
  });
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(results[static_cast<std::size_t>(rank)].front()[0].item<int>(), (rank + 2) % 3);
  }
}

TEST_P(RankBackendTest, SplitsByGroupRanks) {
  const auto results = GetParam()(3, [](RankContext& context) {
    auto options = c10::make_intrusive<c10d::Backend::Options>("any");
    options->group_name = "split off";
    const auto group = context.world().split({}, {2, 0}, options);
    Tensors x = rank_tensor(context);
    if (context.rank() == 1) {
      EXPECT_EQ(group, nullptr);
      return x;
    }
    group->allreduce(x, {})->wait();
    x.push_back(at::full({}, group->getRank()));
    return x;
  });
  EXPECT_EQ(results[0][0][0].item<int>(), 2);
  EXPECT_EQ(results[0][1].item<int>(), 1);
  EXPECT_EQ(results[2][1].item<int>(), 0);
  EXPECT_EQ(results[1][0][0].item<int>(), 1);
}

TEST_P(RankBackendTest, CountsCollectivesAndNotMessages) {
  const auto results = GetParam()(2, [](RankContext& context) -> Tensors {
    Tensors x = rank_tensor(context);
    context.world().allreduce(x, {})->wait();
    if (context.rank() == 0) {
      context.world().send(x, 1, 0)->wait();
    } else {
      context.world().recv(x, 0, 0)->wait();
    }
    context.world().barrier({})->wait();
    return {at::full({}, static_cast<double>(context.world().getSequenceNumberForGroup()))};
  });
  EXPECT_EQ(results[0].front().item<int>(), 2);
  EXPECT_EQ(results[1].front().item<int>(), 2);
}

TEST_P(RankBackendTest, RefusesWhatARealGroupRefuses) {
  EXPECT_THAT(
      error_of([](RankContext& context) {
        Tensors x = rank_tensor(context);
        c10d::BroadcastOptions options;
        options.rootRank = 3;
        context.world().broadcast(x, options)->wait();
        return x;
      }),
      HasSubstr("broadcast names the root 3, but the group has no group rank 3; valid: 0..2"));
  EXPECT_THAT(error_of([](RankContext& context) {
                Tensors x = rank_tensor(context);
                context.world().send(x, 7, 0);
                return x;
              }),
              HasSubstr("send names the peer 7, but the group has no group rank 7; valid: 0..2"));
  EXPECT_THAT(error_of([](RankContext& context) {
                Tensors x = rank_tensor(context);
                context.world().shutdown();
                context.world().allreduce(x, {});
                return x;
              }),
              HasSubstr("all_reduce after the group was shut down. Make a new group."));
  EXPECT_THAT(error_of([](RankContext& context) {
                context.new_group("low", {0, 1});
                return Tensors{};
              }),
              HasSubstr("rank 2 is not in group \"low\", so it can't make it"));
}

}  // namespace
}  // namespace polyrank
