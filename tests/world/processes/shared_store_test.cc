#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/world/processes/shared_store.h>
#include <world/processes/run_processes.h>

#include <chrono>
#include <string>

namespace polyrank {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

SharedStore::Value bytes(const std::string& text) { return {text.begin(), text.end()}; }

TEST(SharedStoreTest, RanksSeeEachOthersKeys) {
  const auto process = std::make_shared<RankProcess>(3);
  SharedStore launchers(process);
  launchers.set("from", bytes("launcher"));
  EXPECT_THAT(run_processes(process,
                            [](const auto& rank, ProcessesBackend& world) {
                              SharedStore store(rank);
                              EXPECT_EQ(store.get("from"), bytes("launcher"));
                              store.add("count", 2);
                              store.set("rank" + std::to_string(rank->rank()), bytes("x"));
                              store.wait({"rank0", "rank1", "rank2"});
                              world.barrier({})->wait();
                              EXPECT_EQ(store.add("count", 0), 6);
                            }),
              Each(""));
  EXPECT_EQ(launchers.getNumKeys(), 5);
  EXPECT_TRUE(launchers.deleteKey("count"));
  EXPECT_FALSE(launchers.deleteKey("count"));
}

TEST(SharedStoreTest, CompareSetAppendAndQueues) {
  SharedStore store(std::make_shared<RankProcess>(1));
  EXPECT_EQ(store.compareSet("k", bytes("a"), bytes("b")), bytes("a"));  // no such key
  EXPECT_FALSE(store.check({"k"}));
  EXPECT_EQ(store.compareSet("k", {}, bytes("b")), bytes("b"));
  EXPECT_EQ(store.compareSet("k", bytes("b"), bytes("c")), bytes("c"));
  EXPECT_EQ(store.compareSet("k", bytes("b"), bytes("d")), bytes("c"));
  store.append("k", bytes("!"));
  EXPECT_EQ(store.multiGet({"k"}).front(), bytes("c!"));
  store.queuePush("q", bytes("1"));
  store.queuePush("q", bytes("2"));
  EXPECT_EQ(store.queueLen("q"), 2);
  EXPECT_EQ(store.queuePop("q", false), bytes("1"));
  EXPECT_EQ(store.queuePop("q", true), bytes("2"));
  EXPECT_THROW(store.queuePop("q", false), c10::Error);
}

TEST(SharedStoreTest, AKeyThatNobodyCanSetIsAStandstill) {
  const auto process = std::make_shared<RankProcess>(2);
  const RankEndings endings =
      run_processes(process, [](const auto& rank, ProcessesBackend& /*world*/) {
        if (rank->rank() == 0) {
          SharedStore(rank).get("never");
        }
      });
  EXPECT_THAT(endings[0], HasSubstr("waits for key \"never\" of the store"));
}

TEST(SharedStoreTest, AWaitWithATimeOutEnds) {
  const auto process = std::make_shared<RankProcess>(1);
  const RankEndings endings =
      run_processes(process, [](const auto& rank, ProcessesBackend& /*world*/) {
        SharedStore(rank).wait({"never"}, std::chrono::milliseconds(10));
      });
  EXPECT_THAT(endings[0], HasSubstr("wait timeout after 10ms, keys: never"));
}

}  // namespace
}  // namespace polyrank
