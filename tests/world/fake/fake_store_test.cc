#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/fake/fake_store.h>

#include <chrono>
#include <cstdint>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Bytes = std::vector<std::uint8_t>;

TEST(FakeStore, HoldsWhatThisRankPutIn) {
  const auto store = c10::make_intrusive<FakeStore>();
  store->set("a", Bytes{1, 2});
  EXPECT_EQ(store->get("a"), (Bytes{1, 2}));
  EXPECT_EQ(store->clone()->get("a"), (Bytes{1, 2}));
  EXPECT_EQ(store->add("n", 2), 2);
  EXPECT_EQ(store->add("n", 3), 5);
  EXPECT_EQ(store->multiGet({"a", "a"}).size(), 2U);
  EXPECT_TRUE(store->deleteKey("a"));
  EXPECT_FALSE(store->check({"a"}));
}

TEST(FakeStore, NobodyIsWaitedFor) {
  const auto store = c10::make_intrusive<FakeStore>();
  store->wait({"of another rank"});
  store->wait({"of another rank"}, std::chrono::hours(1));
  store->barrier("all", 4096, std::chrono::hours(1));
}

TEST(FakeStore, WhatAnotherRankWouldPutInIsAnErrorAtOnce) {
  const auto store = c10::make_intrusive<FakeStore>();
  EXPECT_THAT([&] { store->get("id"); },
              ThrowsMessage<CollectiveError>(HasSubstr("no key \"id\"")));
  EXPECT_THAT([&] { store->multiGet({"id"}); },
              ThrowsMessage<CollectiveError>(HasSubstr("no key \"id\"")));
  EXPECT_THAT([&] { store->queuePop("q", true); },
              ThrowsMessage<CollectiveError>(HasSubstr("no message in the queue \"q\"")));
}

}  // namespace
}  // namespace polyrank
