#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/member_tensors.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::SizeIs;

TEST(MemberTensors, MembersInARowThatHoldTheSameAreOneRun) {
  const at::Tensor a = at::ones({2});
  const at::Tensor b = at::ones({2});
  const std::vector<at::Tensor> given{a, a, b, a};
  const MemberTensors members(given);
  EXPECT_EQ(members.size(), 4U);
  EXPECT_THAT(members.runs(), SizeIs(3));
  for (std::size_t member = 0; member < given.size(); ++member) {
    EXPECT_TRUE(members[member].is_same(given[member])) << member;
    EXPECT_TRUE(members.by_member()[member].is_same(given[member])) << member;
  }
}

TEST(MemberTensors, AMillionEqualMembersAreOneRun) {
  MemberTensors members;
  const at::Tensor a = at::ones({2});
  members.append(a, 1U << 20U);
  members.append(a, 0);
  EXPECT_EQ(members.size(), 1U << 20U);
  EXPECT_THAT(members.runs(), SizeIs(1));
  EXPECT_TRUE(members[(1U << 20U) - 1].is_same(a));
}

TEST(MemberTensors, NoneAtFirst) {
  EXPECT_EQ(MemberTensors().size(), 0U);
  EXPECT_THAT(MemberTensors().by_member(), SizeIs(0));
}

}  // namespace
}  // namespace polyrank
