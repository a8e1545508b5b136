#include <dist2/scoped_variable.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/environment_store.h>

#include <string>

namespace polyrank::dist2 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(EnvironmentStore, RanksComeFromTheVariables) {
  const ScopedVariable rank("RANK", "3");
  const ScopedVariable world_size("WORLD_SIZE", "8");
  EXPECT_EQ(rank_of_environment(), 3);
  EXPECT_EQ(world_size_of_environment(), 8);
}

TEST(EnvironmentStore, WhatIsMissingOrNoNumberIsNamed) {
  {
    const ScopedVariable rank("RANK", nullptr);
    EXPECT_THAT([] { rank_of_environment(); },
                ThrowsMessage<UsageError>(HasSubstr("RANK expected, but not set")));
  }
  for (const char* const text : {"x", "-1", "1x", "99999999999"}) {
    const ScopedVariable rank("RANK", text);
    EXPECT_THAT([] { rank_of_environment(); },
                ThrowsMessage<UsageError>(HasSubstr("variable RANK is \"" + std::string(text))));
  }
}

TEST(EnvironmentStore, EachStoreHasKeysOfItsOwn) {
  const ScopedVariable host("MASTER_ADDR", "127.0.0.1");
  const ScopedVariable port("MASTER_PORT", "29713");
  const Store first = environment_store(0, 1, milliseconds(5000));
  const Store second = environment_store(0, 1, milliseconds(5000));
  first->set("key", std::string("value"));
  EXPECT_TRUE(first->check({"key"}));
  EXPECT_FALSE(second->check({"key"}));
}

TEST(EnvironmentStore, AStoreThatNobodyServesIsSaidInTime) {
  const ScopedVariable host("MASTER_ADDR", "127.0.0.1");
  const ScopedVariable port("MASTER_PORT", "29714");
  EXPECT_THAT([] { environment_store(1, 2, milliseconds(300)); },
              ThrowsMessage<CollectiveError>(HasSubstr(
                  "rank 1: no store at 127.0.0.1:29714 within 300 ms; rank 0 serves it")));
}

}  // namespace
}  // namespace polyrank::dist2
