#include <gtest/gtest.h>
#include <polyrank/engine/number_hooks.h>

namespace polyrank {
namespace {

TEST(NumberHooks, WithoutAnInterpreterTorchAsks) {
  EXPECT_EQ(number_hooks().caller.load(), nullptr);
  EXPECT_EQ(number_hooks().behind_python.load(), nullptr);
  EXPECT_EQ(caller(), Caller::kTorch);
}

TEST(NumberHooks, ThoseThatAreSetAreAsked) {
  number_hooks().caller = [] { return Caller::kUser; };
  EXPECT_EQ(caller(), Caller::kUser);
  number_hooks().caller = nullptr;
}

}  // namespace
}  // namespace polyrank
