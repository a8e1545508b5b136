#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/device_mesh.h>
#include <polyrank/api/messages.h>
#include <polyrank/core/errors.h>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class MessagesTest : public ::testing::Test {
 protected:
  // Before the world, where one rank's tensors are made.
  at::Tensor x_ = local_tensor({{0}, {10}, {20}, {30}});
  at::Tensor on_rank_1_ = make_local_tensor({{1, at::tensor({5.0F})}});
  at::Tensor on_rank_3_ = make_local_tensor({{3, at::tensor({0.0F})}});
  LockstepWorld world_{4};
  at::Tensor y_ = at::zeros({1});
};

TEST_F(MessagesTest, GoAroundARing) {
  const c10::SymInt rank = get_rank();
  send(x_, (rank + 1) % 4);
  recv(y_, (rank + 3) % 4);
  EXPECT_THAT(values_on_rank(y_, 0), ElementsAre(30));
  EXPECT_THAT(values_on_rank(y_, 3), ElementsAre(20));
}

TEST_F(MessagesTest, AReceiveMayComeBeforeItsSend) {
  const c10::SymInt peer = 3 - get_rank();
  const Work receive = irecv(y_, peer, {.tag = 7});
  EXPECT_FALSE(receive->isCompleted());
  isend(x_ + 1, peer);
  EXPECT_FALSE(receive->isCompleted());  // another tag
  EXPECT_TRUE(isend(x_, peer, {.tag = 7})->isCompleted());
  EXPECT_TRUE(receive->wait());
  EXPECT_TRUE(receive->getFuture()->completed());
  EXPECT_THAT(values_on_rank(y_, 0), ElementsAre(30));
}

TEST_F(MessagesTest, PeersAreRanksOfTheGroup) {
  DeviceMesh mesh(world_, {{"pp", 2}, {"tp", 2}});
  const ProcessGroup pipeline = mesh.get_group("pp");
  const c10::SymInt other_stage = 1 - mesh.get_local_rank("pp");
  send(x_, other_stage, {.group = pipeline});
  recv(y_, other_stage, {.group = pipeline});
  EXPECT_THAT(values_on_rank(y_, 1), ElementsAre(30));
}

TEST_F(MessagesTest, ATensorOnOneRankIsSentByThatRankAlone) {
  send(on_rank_1_, 3);
  recv(on_rank_3_, 1);
  EXPECT_THAT(values_on_rank(on_rank_3_, 3), ElementsAre(5));
}

TEST_F(MessagesTest, ABatchMayReceiveFirst) {
  const c10::SymInt peer = 3 - get_rank();
  const std::vector<Work> works =
      batch_isend_irecv({{.operation = &irecv, .tensor = y_, .peer = peer, .options = {.tag = 1}},
                         {.operation = &isend, .tensor = x_, .peer = peer, .options = {.tag = 1}}});
  ASSERT_EQ(works.size(), 2U);
  EXPECT_TRUE(works[0]->isCompleted() && works[1]->isCompleted());
  EXPECT_THAT(values_on_rank(y_, 2), ElementsAre(10));
}

TEST_F(MessagesTest, WhatCanNotBeSaysSo) {
  EXPECT_THAT([&] { recv(y_, 3 - get_rank(), {.tag = 3}); },
              ThrowsMessage<DeadlockError>(HasSubstr("tag=3")));
  EXPECT_THAT([&] { send(x_, 1); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("rank 1 sends to itself")));
}

}  // namespace
}  // namespace polyrank
