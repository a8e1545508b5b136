#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/api/run_ranks.h>
#include <polyrank/core/errors.h>

#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;

TEST(RankContextTest, KnowsTheRankAndMakesItsGroups) {
  run_ranks(3, [](RankContext& context) {
    EXPECT_EQ(context.world_size(), 3);
    EXPECT_EQ(context.world().getRank(), context.rank());
    if (context.rank() != 1) {
      const auto group = context.new_group("odd one out", {2, 0});
      EXPECT_EQ(group->getSize(), 2);
      EXPECT_EQ(group->getRank(), context.rank() == 2 ? 0 : 1);
    }
  });
}

TEST(RankContextTest, MakesNoGroupOfOthers) {
  run_ranks(2, [](RankContext& context) {
    try {
      context.new_group("of the other", {1 - context.rank()});
      FAIL() << "no error";
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("is not in group \"of the other\""));
    }
  });
}

}  // namespace
}  // namespace polyrank
