#include <gtest/gtest.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/threads/rank_store.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using Value = RankStore::Value;

// Runs `program(rank, store)` on two ranks with one store.
template <class Program>
void run_two(const Program& program) {
  c10::intrusive_ptr<RankStore> store;
  run_ranks(2, [&](RankContext& context) {
    if (store == nullptr) {
      store = c10::make_intrusive<RankStore>(RankThread::current()->turns_ptr());
    }
    program(context.rank(), *store);
  });
}

template <class Program>
std::string deadlock_of(const Program& program) {
  try {
    run_two(program);
  } catch (const DeadlockError& error) {
    return error.what();
  }
  return "no DeadlockError";
}

TEST(RankStoreTest, WhoWaitsForAKeyLetsOthersSetIt) {
  std::vector<Value> found;
  run_two([&](std::int64_t rank, RankStore& store) {
    if (rank == 0) {  // rank 1 can't run unless this one gives the turn away
      found.push_back(store.get("set"));
      store.wait({"added", "appended"});
      found.push_back(store.multiGet({"many"}).front());
      found.push_back(store.queuePop("queue", true));
    } else {
      store.set("set", Value{7});
      store.add("added", 1);
      store.append("appended", Value{1});
      store.multiSet({"many"}, {Value{8}});
      store.queuePush("queue", Value{9});
    }
  });
  EXPECT_EQ(found, (std::vector<Value>{{7}, {8}, {9}}));
}

TEST(RankStoreTest, AKeyThatNobodySetsIsAStandstill) {
  const std::string text = deadlock_of([](std::int64_t rank, RankStore& store) {
    if (rank == 0) {
      store.get("never");
    }
  });
  EXPECT_NE(text.find("rank 0 waits for key \"never\" of the store\n  rank 1 has returned\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("Nobody is left who could do what rank 0 waits for."), std::string::npos)
      << text;
}

TEST(RankStoreTest, WhoAsksAgainAndAgainLetsOthersSetIt) {
  run_two([](std::int64_t rank, RankStore& store) {
    if (rank == 1) {
      store.set("key", Value{1});
    }
    while (!store.check({"key"})) {
    }
  });
}

TEST(RankStoreTest, AQueueThatNobodyFillsIsAStandstill) {
  const std::string text = deadlock_of(
      [](std::int64_t rank, RankStore& store) { store.queuePop(std::to_string(rank), true); });
  EXPECT_NE(text.find("rank 1 waits for key \"1\""), std::string::npos) << text;
}

TEST(RankStoreTest, AWaitWithATimeOutEndsByItself) {
  EXPECT_THROW(run_two([](std::int64_t, RankStore& store) {
                 store.wait({"never"}, std::chrono::milliseconds(20));
               }),
               c10::DistStoreError);
}

}  // namespace
}  // namespace polyrank
