#include <ATen/Functions.h>
#include <dist2/gloo_ranks.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/watched_group.h>

#include <functional>
#include <memory>

namespace polyrank::dist2 {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Tensors = std::vector<at::Tensor>;

// A process that is not there: nobody listens on the port.
constexpr const char* kNobody = "127.0.0.1:1";

Members members_of_four(const std::vector<std::string>& addresses) {
  return {"test", c10::make_intrusive<c10d::HashStore>(), 0, addresses,
          std::chrono::milliseconds(200)};
}

TEST(WatchedGroup, WhoHasEndedIsNamed) {
  const Members members = members_of_four({own_address(), kNobody, own_address(), kNobody});
  EXPECT_THAT([&] { members.explain("a launch", "a reset"); },
              ThrowsMessage<CollectiveError>(
                  HasSubstr("a launch: the processes of ranks 1,3 have ended. Look at its output "
                            "for the cause. The backend says: a reset")));
}

TEST(WatchedGroup, WhoFailedAndThenEndedIsNoCause) {
  const Members members = members_of_four({own_address(), kNobody, kNobody, own_address()});
  members.store()->set("failed/1", std::string("a launch"));
  EXPECT_THAT([&] { members.explain("a launch", ""); },
              ThrowsMessage<CollectiveError>(HasSubstr("the process of rank 2 has ended")));
}

TEST(WatchedGroup, WhereAllLiveWhoDidNotFailIsNamed) {
  const Members members =
      members_of_four({own_address(), own_address(), own_address(), own_address()});
  members.store()->set("failed/2", std::string("a launch"));
  EXPECT_THAT([&] { members.explain("a launch", ""); },
              ThrowsMessage<CollectiveError>(
                  HasSubstr("all processes live; ranks 1,3 have not failed here")));
}

TEST(WatchedGroup, EachLaunchAfterShutdownIsAnError) {
  run_gloo(1, [](const ProcessGroup& group) {
    auto t = full(1);
    auto other = full(1);
    std::vector<Tensors> lists{{at::zeros({2})}};
    std::vector<std::int64_t> none;
    const std::vector<std::function<void()>> launches = {
        [&] { group->broadcast(t); },
        [&] { group->allreduce(t); },
        [&] { group->allreduce_coalesced(t); },
        [&] { group->reduce(t); },
        [&] { group->allgather(lists, t); },
        [&] { group->all_gather_single(other[0], t[0]); },
        [&] { group->allgather_coalesced(lists, t); },
        [&] { group->all_gather_single_coalesced(other, t); },
        [&] { group->gather(lists, t); },
        [&] { group->scatter(t, lists); },
        [&] { group->reduce_scatter(t, lists); },
        [&] { group->reduce_scatter_single(other[0], t[0]); },
        [&] { group->reduce_scatter_single_coalesced(other, t); },
        [&] { group->all_to_all_single(other[0], t[0], none, none); },
        [&] { group->alltoall(other, t); },
        [&] { group->send(t, 0, 0); },
        [&] { group->recv(t, 0, 0); },
        [&] { group->recvAnysource(t, 0); },
        [&] { group->barrier(); },
        [&] { group->monitoredBarrier({}); }};
    group->allreduce(t)->wait();
    group->shutdown();
    group->abort();
    for (const auto& launch : launches) {
      EXPECT_THAT(launch, ThrowsMessage<CollectiveError>(
                              HasSubstr("after the group was shut down. Make a new group.")));
    }
  });
}

}  // namespace
}  // namespace polyrank::dist2
