#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/threads/threads_backend.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using Tensors = std::vector<at::Tensor>;

std::string error_of(const std::function<void(RankContext&)>& program) {
  try {
    run_ranks(3, program);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

Tensors full(double value) { return {at::full({2}, value)}; }

TEST(ThreadsBackendTest, MessagesAreKeptUntilTheyAreReceived) {
  run_ranks(3, [](RankContext& context) {
    const auto next = static_cast<int>((context.rank() + 1) % 3);
    const auto last = static_cast<int>((context.rank() + 2) % 3);
    Tensors sent = full(static_cast<double>(context.rank()));
    context.world().send(sent, next, 4)->wait();
    sent.front().fill_(-1);  // the message was taken already
    Tensors received = full(0);
    context.world().recv(received, last, 4)->wait();
    EXPECT_EQ(received.front()[0].item<int>(), last);
  });
}

TEST(ThreadsBackendTest, ReceivingFromAnyTellsWhoSent) {
  run_ranks(3, [](RankContext& context) {
    Tensors x = full(static_cast<double>(context.rank()));
    if (context.rank() != 2) {
      context.world().send(x, 2, 0)->wait();
      return;
    }
    for (int message = 0; message < 2; ++message) {
      const auto work = context.world().recvAnysource(x, 0);
      work->wait();
      EXPECT_EQ(x.front()[0].item<int>(), work->sourceRank());
    }
  });
}

TEST(ThreadsBackendTest, AsynchronousWorksCompleteWhenAllHaveCome) {
  run_ranks(3, [](RankContext& context) {
    Tensors x = full(1);
    const auto work = context.world().allreduce(x, {});
    if (context.rank() == 0) {
      EXPECT_FALSE(work->isSuccess());  // the others have not run yet
    }
    while (!work->isCompleted()) {
    }
    EXPECT_TRUE(work->isSuccess());
    EXPECT_EQ(x.front()[0].item<int>(), 3);
    EXPECT_EQ(work->getFuture()->value().toTensorVector().front()[1].item<int>(), 3);
    EXPECT_EQ(context.world().getSequenceNumberForGroup(), 1U);
  });
}

TEST(ThreadsBackendTest, AWaitWithATimeOutSaysWhoDidNotCome) {
  EXPECT_THAT(error_of([](RankContext& context) {
                if (context.rank() != 2) {
                  Tensors x = full(1);
                  context.world().allreduce(x, {})->wait(std::chrono::milliseconds(5));
                }
              }),
              HasSubstr("in all_reduce(sum) float32[2] (launch #0 of group \"world\"), waiting "
                        "for rank 2.\n"));
}

TEST(ThreadsBackendTest, TensorsThatDoNotFitAreAnErrorThatNamesThem) {
  EXPECT_THAT(error_of([](RankContext& context) {
                at::Tensor output = at::zeros({5});
                at::Tensor input = at::ones({2});
                context.world()._allgather_base(output, input, {})->wait();
              }),
              HasSubstr("the output must have 3 times as many elements"));
}

}  // namespace
}  // namespace polyrank
