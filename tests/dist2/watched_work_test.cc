#include <ATen/Functions.h>
#include <dist2/gloo_ranks.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/watched_work.h>

namespace polyrank::dist2 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(WatchedWork, AnswersAsTheWorkThatItWatches) {
  run_gloo(2, [](const ProcessGroup& group) {
    auto x = full(1);
    const auto work = group->allreduce(x);
    EXPECT_TRUE(work->wait());
    EXPECT_TRUE(work->isCompleted());
    EXPECT_TRUE(work->isSuccess());
    EXPECT_EQ(work->exception(), nullptr);
    EXPECT_EQ(work->retrieveOpType(), c10d::OpType::ALLREDUCE);
    EXPECT_EQ(work->getFuture()->value().toTensorVector().front().data_ptr(), x.front().data_ptr());
    auto y = full(group->getRank());
    if (group->getRank() == 0) {
      group->send(y, 1, 3)->wait();
    } else {
      const auto received = group->recvAnysource(y, 3);
      received->wait();
      EXPECT_EQ(received->sourceRank(), 0);
    }
  });
}

TEST(WatchedWork, AFailedWaitNamesWhoDidNotTakePart) {
  run_gloo(
      2,
      [](const ProcessGroup& group) {
        if (group->getRank() == 0) {
          auto x = full(1);
          EXPECT_THAT([&] { group->allreduce(x)->wait(); },
                      ThrowsMessage<CollectiveError>(HasSubstr(
                          "rank 0: allreduce (launch #0): all processes live; rank 1 has not "
                          "failed here")));
        } else {
          std::this_thread::sleep_for(milliseconds(1500));
        }
      },
      milliseconds(500));
}

}  // namespace
}  // namespace polyrank::dist2
