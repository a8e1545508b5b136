#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/fake/fake_work.h>

#include <utility>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(FakeWork, IsCompleteAndTellsWhatItWasMadeWith) {
  const at::Tensor result = at::ones({2});
  FakeWorkState state;
  state.results = {result};
  state.op_type = c10d::OpType::RECV;
  state.sequence_number = 7;
  state.source_rank = 2;
  const auto work = c10::make_intrusive<FakeWork>(std::move(state));
  EXPECT_TRUE(work->isCompleted());
  EXPECT_TRUE(work->wait(kNoTimeout));
  EXPECT_EQ(work->sourceRank(), 2);
  EXPECT_EQ(work->getSequencenumber(), 7U);
  EXPECT_EQ(work->retrieveOpType(), c10d::OpType::RECV);
  EXPECT_TRUE(work->getFuture()->value().toTensorVector().at(0).is_same(result));
}

TEST(FakeWork, LooksForMessagesOnceMoreWhenItIsWaitedFor) {
  const auto sent = std::make_shared<SentMessages>();
  const at::Tensor buffer = at::full({2}, 77.0F);
  FakeWorkState state;
  state.pending = {{.buffer = buffer, .tag = 1, .sent = sent}};
  state.refuses = true;
  const auto work = c10::make_intrusive<FakeWork>(std::move(state));
  sent->add(1, at::ones({2}));
  work->wait(kNoTimeout);
  EXPECT_EQ(values(buffer), (std::vector<float>{1, 1}));
}

TEST(FakeWork, RefusesWhatIsUnknownOnlyWhereAskedTo) {
  const auto sent = std::make_shared<SentMessages>();
  const at::Tensor buffer = at::full({2}, 77.0F);
  FakeWorkState state;
  state.pending = {{.buffer = buffer, .tag = 1, .sent = sent}};
  c10::make_intrusive<FakeWork>(state)->wait(kNoTimeout);
  EXPECT_EQ(values(buffer), (std::vector<float>{0, 0}));
  state.refuses = true;
  state.description = "group \"pp\" (ranks 0-3), rank 1: recv";
  EXPECT_THAT([&] { c10::make_intrusive<FakeWork>(state)->wait(kNoTimeout); },
              ThrowsMessage<CollectiveError>(HasSubstr("a message float32[2] with tag 1")));
}

}  // namespace
}  // namespace polyrank
