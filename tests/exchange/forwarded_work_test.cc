#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/collective_work.h>
#include <polyrank/exchange/forwarded_work.h>
#include <polyrank/report/collective_record.h>

#include <memory>

namespace polyrank {
namespace {

TEST(ForwardedWork, AnswersAsTheOtherDoes) {
  const at::Tensor x = at::ones({2});
  const auto other =
      c10::make_intrusive<CompletedWork>(std::vector<at::Tensor>{x}, 3, c10d::OpType::ALLREDUCE);
  const auto work = c10::make_intrusive<ForwardedWork>(other, 3);
  EXPECT_TRUE(work->isCompleted());
  EXPECT_TRUE(work->isSuccess());
  EXPECT_EQ(work->exception(), nullptr);
  EXPECT_TRUE(work->wait(kNoTimeout));
  EXPECT_EQ(work->retrieveOpType(), c10d::OpType::ALLREDUCE);
  EXPECT_TRUE(work->result().front().is_same(x));
  EXPECT_TRUE(work->getFuture()->completed());
  EXPECT_TRUE(work->getFutureResult()->completed());
}

TEST(ForwardedWork, TellsTheRecordOfTheFirstWait) {
  const auto trace = std::make_shared<CollectiveTrace>();
  collective_record().start(trace);
  CollectiveLaunch launch;
  launch.kind = CollectiveKind::kBarrier;
  launch.group = std::make_shared<Group>("", "", RankRuns());
  const auto work = c10::make_intrusive<ForwardedWork>(
      c10::make_intrusive<CompletedWork>(std::vector<at::Tensor>{}));
  work->add_launch(collective_record().launch(std::move(launch)));
  EXPECT_FALSE(trace->launches()[0].wait.has_value());
  work->wait(kNoTimeout);
  EXPECT_TRUE(trace->launches()[0].wait.has_value());
  collective_record().stop(trace);
}

}  // namespace
}  // namespace polyrank
