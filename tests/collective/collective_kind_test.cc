#include <gtest/gtest.h>
#include <polyrank/collective/collective_kind.h>

#include <set>

namespace polyrank {
namespace {

constexpr std::size_t kNumKinds = static_cast<std::size_t>(CollectiveKind::kWait) + 1;

TEST(CollectiveKind, HasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kNumKinds; ++i) {
    names.insert(to_string(static_cast<CollectiveKind>(i)));
  }
  EXPECT_EQ(names.size(), kNumKinds);
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_EQ(to_string(CollectiveKind::kAllReduce), "all_reduce");
}

TEST(CollectiveKind, ThatGivesMembersTheSameIsNotOneThatSendsPiecesApart) {
  EXPECT_TRUE(gives_members_the_same(CollectiveKind::kAllReduce));
  EXPECT_TRUE(gives_members_the_same(CollectiveKind::kAllGather));
  EXPECT_TRUE(gives_members_the_same(CollectiveKind::kBroadcast));
  EXPECT_FALSE(gives_members_the_same(CollectiveKind::kReduceScatter));
  EXPECT_FALSE(gives_members_the_same(CollectiveKind::kAllToAll));
  EXPECT_FALSE(gives_members_the_same(CollectiveKind::kScatter));
}

TEST(CollectiveKind, GivesTheRootAloneOrEachMemberSomething) {
  EXPECT_TRUE(gives_the_root_alone(CollectiveKind::kReduce));
  EXPECT_TRUE(gives_the_root_alone(CollectiveKind::kGather));
  EXPECT_FALSE(gives_the_root_alone(CollectiveKind::kScatter));
  EXPECT_FALSE(gives_the_root_alone(CollectiveKind::kBroadcast));
}

TEST(CollectiveKind, KnowsReductionsAndRoots) {
  EXPECT_TRUE(is_reduction(CollectiveKind::kReduce));
  EXPECT_TRUE(has_root(CollectiveKind::kReduce));
  EXPECT_TRUE(is_reduction(CollectiveKind::kReduceScatter));
  EXPECT_FALSE(has_root(CollectiveKind::kReduceScatter));
  EXPECT_FALSE(is_reduction(CollectiveKind::kBroadcast));
  EXPECT_TRUE(has_root(CollectiveKind::kBroadcast));
}

}  // namespace
}  // namespace polyrank
