#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/fake/fake_member.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(FakeMember, AnswersForTheRankThatRuns) {
  const auto rank = std::make_shared<FakeRank>(17);
  const FakeMember tp(GroupFamily::fibers({{8, 1}}, 64), rank);
  EXPECT_EQ(tp.group_rank(), 1);
  EXPECT_EQ(tp.global_rank_of(0), 16);
  EXPECT_EQ(tp.to_string(), "16-23");
  rank->value = 63;
  EXPECT_EQ(tp.group_rank(), 7);
  EXPECT_EQ(tp.global_rank_of(0), 56);
  EXPECT_EQ(tp.group_rank_of(17), -1);
}

TEST(FakeMember, OtherGroupsShareTheRank) {
  const auto rank = std::make_shared<FakeRank>(3);
  const FakeMember world(GroupFamily::fibers({{8, 1}}, 8), rank);
  const FakeMember listed = world.in(GroupFamily::single(std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(listed.group_rank(), 0);
  rank->value = 4;
  EXPECT_EQ(listed.group_rank(), -1);
  EXPECT_EQ(listed.to_string(), "none");
  EXPECT_THAT([&] { listed.ranks(); },
              ThrowsMessage<UsageError>(HasSubstr("rank 4 is not in the group")));
  EXPECT_THAT([&] { world.global_rank_of(8); },
              ThrowsMessage<UsageError>(HasSubstr("no group rank 8")));
}

}  // namespace
}  // namespace polyrank
