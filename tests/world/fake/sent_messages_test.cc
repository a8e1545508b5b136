#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/world/fake/sent_messages.h>

namespace polyrank {
namespace {

TEST(SentMessages, TheLastMessageOfItsKindIsFound) {
  SentMessages sent;
  const at::Tensor message = at::ones({2});
  sent.add(0, message);
  message.zero_();  // a copy was kept
  sent.add(1, at::full({2}, 5.0F));
  EXPECT_EQ(values(sent.find(0, at::empty({2, 1}))), (std::vector<float>{1, 1}));
  sent.add(0, at::full({2}, 7.0F));
  EXPECT_EQ(values(sent.find(0, at::empty({2}))), (std::vector<float>{7, 7}));
  EXPECT_EQ(values(sent.find(1, at::empty({2}))), (std::vector<float>{5, 5}));
}

TEST(SentMessages, OthersAreNot) {
  SentMessages sent;
  sent.add(0, at::ones({2}));
  EXPECT_FALSE(sent.find(3, at::empty({2})).defined());
  EXPECT_FALSE(sent.find(0, at::empty({3})).defined());
  EXPECT_FALSE(sent.find(0, at::empty({2}, at::kDouble)).defined());
}

}  // namespace
}  // namespace polyrank
