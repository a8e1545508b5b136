#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/run_operator.h>
#include <polyrank/world/lockstep/point_to_point.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const std::vector<std::int64_t> kWorld{0, 1, 2};

PointToPoint message(const at::Tensor& tensor, std::vector<std::int64_t> peers,
                     std::int64_t tag = 0) {
  return {.tensor = tensor,
          .group_name = "0",
          .group_label = "world",
          .ranks = kWorld,
          .peers = std::move(peers),
          .tag = tag};
}

class MailboxTest : public ::testing::Test {
 protected:
  Mailbox box_;
  BelowLockstepGuard below_{false};
  CohortKeysGuard keys_{false};
};

TEST_F(MailboxTest, GivesEachRankItsPeersTensor) {
  box_.send(message(local_tensor({{0}, {1}, {2}}), {1, 2, 0}));
  const at::Tensor out = local_tensor({{9}, {9}, {9}});
  const auto work = box_.receive(message(out, {2, 0, 1}));
  EXPECT_TRUE(work->isCompleted());
  EXPECT_TRUE(work->wait());
  EXPECT_THAT(values_on_rank(out, 0), ElementsAre(2));
  EXPECT_THAT(values_on_rank(out, 1), ElementsAre(0));
  EXPECT_THAT(values_on_rank(out, 2), ElementsAre(1));
}

TEST_F(MailboxTest, RanksThatWereSentOneTensorAreOneCohort) {
  box_.send(message(replicated({4}, 3), {1, 2, 0}));
  const at::Tensor out = local_tensor({{0}, {1}, {2}});
  box_.receive(message(out, {2, 0, 1}));
  EXPECT_EQ(num_cohorts(out), 1U);
  EXPECT_THAT(values_on_rank(out, 1), ElementsAre(4));
}

TEST_F(MailboxTest, ASendCopies) {
  const at::Tensor sent = local_tensor({{0}, {1}, {2}});
  box_.send(message(sent, {1, 2, 0}));
  box_.send(message(replicated({7}, 3), {1, 2, 0}, /*tag=*/1));
  box_.receive(message(sent, {2, 0, 1}, /*tag=*/1));
  const at::Tensor out = replicated({9}, 3);
  box_.receive(message(out, {2, 0, 1}));
  EXPECT_THAT(values_on_rank(out, 2), ElementsAre(1));
}

TEST_F(MailboxTest, MessagesOfOnePairAndTagKeepTheirOrder) {
  const at::Tensor first = replicated({0}, 3);
  const at::Tensor second = replicated({0}, 3);
  const at::Tensor other = replicated({0}, 3);
  box_.send(message(replicated({5}, 3), {1, 2, 0}, /*tag=*/3));
  box_.send(message(replicated({1}, 3), {1, 2, 0}));
  box_.send(message(replicated({2}, 3), {1, 2, 0}));
  box_.receive(message(first, {2, 0, 1}));
  box_.receive(message(second, {2, 0, 1}));
  box_.receive(message(other, {2, 0, 1}, /*tag=*/3));
  EXPECT_THAT(values_on_rank(first, 0), ElementsAre(1));
  EXPECT_THAT(values_on_rank(second, 0), ElementsAre(2));
  EXPECT_THAT(values_on_rank(other, 0), ElementsAre(5));
}

TEST_F(MailboxTest, AReceiveIsCompleteWithALaterSend) {
  const at::Tensor out = replicated({9}, 3);
  const auto work = box_.receive(message(out, {2, 0, 1}));
  const auto future = work->getFuture();
  EXPECT_FALSE(work->isCompleted());
  EXPECT_THAT([&] { work->wait(); },
              ThrowsMessage<DeadlockError>(HasSubstr("rank 0 waits in recv(src=2, tag=0)")));
  box_.send(message(local_tensor({{0}, {1}, {2}}), {1, 2, 0}));
  EXPECT_TRUE(work->wait());
  EXPECT_TRUE(future->completed());
  EXPECT_THAT(values_on_rank(out, 0), ElementsAre(2));
}

TEST_F(MailboxTest, WaitsForAllOfTheRanks) {
  const at::Tensor out = replicated({9}, 3);
  const auto work = box_.receive(message(out, {2, 0, 1}));
  box_.send(message(local_tensor({{0}, {1}, {2}}), {2, 0, 1}));  // the other way round
  EXPECT_FALSE(work->isCompleted());
  EXPECT_THAT(values_on_rank(out, 0), ElementsAre(9));
}

TEST_F(MailboxTest, NamesWhoSentWhatDoesNotFit) {
  box_.send(message(local_tensor({{0}, {1, 1}, {2}}), {1, 2, 0}));
  EXPECT_THAT([&] { box_.receive(message(replicated({9}, 3), {2, 0, 1})); },
              ThrowsMessage<CollectiveError>(
                  HasSubstr("rank 1 sent float32[2] to rank 2, which receives into float32[1]")));
}

TEST_F(MailboxTest, ForgetsWhatWasNotReceived) {
  box_.send(message(replicated({1}, 3), {1, 2, 0}));
  box_.clear();
  EXPECT_FALSE(box_.receive(message(replicated({9}, 3), {2, 0, 1}))->isCompleted());
}

TEST(ReadPointToPoint, FindsThePeersOfEachGroup) {
  CollectiveCall call;
  call.spec = find_collective("c10d::send");
  call.units = {{.inputs = {replicated({1}, 4)}, .outputs = {}}};
  call.is_send = {true};
  call.tags = {7};
  call.peers = {1};
  const std::vector<std::vector<std::int64_t>> groups{{0, 1}, {2, 3}};
  const Group group("tp0", "tp", RankRuns::of(groups.front()),
                    GroupFamily::explicit_groups(groups));
  EXPECT_THAT([&] { read_point_to_point(call, 0, group); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("rank 1 sends to itself")));
  // A tensor on the ranks that act.
  call.peers = {1};
  const at::Tensor senders = make_local_tensor(
      std::vector<std::pair<std::int64_t, at::Tensor>>{{0, at::ones({1})}, {2, at::ones({1})}});
  call.units = {{.inputs = {senders}, .outputs = {}}};
  const PointToPoint read = read_point_to_point(call, 0, group);
  EXPECT_THAT(read.ranks, ElementsAre(0, 2));
  EXPECT_THAT(read.peers, ElementsAre(1, 3));
  EXPECT_EQ(read.tag, 7);
}

}  // namespace
}  // namespace polyrank
