#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/environment_store.h>

#include <cstdlib>
#include <string>

namespace polyrank::dist2 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class EnvironmentStore : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* const name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) {
      ::unsetenv(name);
    }
  }
};

TEST_F(EnvironmentStore, RanksComeFromTheVariables) {
  ::setenv("RANK", "3", 1);
  ::setenv("WORLD_SIZE", "8", 1);
  EXPECT_EQ(rank_of_environment(), 3);
  EXPECT_EQ(world_size_of_environment(), 8);
}

TEST_F(EnvironmentStore, WhatIsMissingOrNoNumberIsNamed) {
  EXPECT_THAT([] { rank_of_environment(); },
              ThrowsMessage<UsageError>(HasSubstr("RANK expected, but not set")));
  for (const char* const text : {"x", "-1", "1x", "99999999999"}) {
    ::setenv("RANK", text, 1);
    EXPECT_THAT([] { rank_of_environment(); },
                ThrowsMessage<UsageError>(HasSubstr("variable RANK is \"" + std::string(text))));
  }
}

TEST_F(EnvironmentStore, EachStoreHasKeysOfItsOwn) {
  ::setenv("MASTER_ADDR", "127.0.0.1", 1);
  ::setenv("MASTER_PORT", "29713", 1);
  const Store first = environment_store(0, 1, milliseconds(5000));
  const Store second = environment_store(0, 1, milliseconds(5000));
  first->set("key", std::string("value"));
  EXPECT_TRUE(first->check({"key"}));
  EXPECT_FALSE(second->check({"key"}));
}

TEST_F(EnvironmentStore, AStoreThatNobodyServesIsSaidInTime) {
  ::setenv("MASTER_ADDR", "127.0.0.1", 1);
  ::setenv("MASTER_PORT", "29714", 1);
  EXPECT_THAT([] { environment_store(1, 2, milliseconds(300)); },
              ThrowsMessage<CollectiveError>(HasSubstr(
                  "rank 1: no store at 127.0.0.1:29714 within 300 ms; rank 0 serves it")));
}

}  // namespace
}  // namespace polyrank::dist2
