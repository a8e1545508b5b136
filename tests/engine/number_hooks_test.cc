#include <gtest/gtest.h>
#include <polyrank/engine/number_hooks.h>

namespace polyrank {
namespace {

TEST(NumberHooks, WithoutAnInterpreterTorchAsks) {
  EXPECT_EQ(number_hooks().caller.load(), nullptr);
  EXPECT_EQ(number_hooks().behind_python.load(), nullptr);
  EXPECT_EQ(caller(), NumberCaller::kTorch);
}

TEST(NumberHooks, ThoseThatAreSetAreAsked) {
  number_hooks().caller = [] { return NumberCaller::kUser; };
  EXPECT_EQ(caller(), NumberCaller::kUser);
  number_hooks().caller = nullptr;
}

}  // namespace
}  // namespace polyrank
