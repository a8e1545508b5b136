#include <gtest/gtest.h>
#include <polyrank/core/interned.h>

#include <string>

namespace polyrank {
namespace {

TEST(Interned, KeepsOneCopyOfEqualStrings) {
  std::string_view kept;
  {
    const std::string text = "layers.0.attention";
    kept = interned(text);
    EXPECT_NE(kept.data(), text.data());
  }
  EXPECT_EQ(kept, "layers.0.attention");                                            // (1)
  EXPECT_EQ(interned(std::string("layers.0.") + "attention").data(), kept.data());  // (2)
  EXPECT_NE(interned("layers.1.attention").data(), kept.data());
  EXPECT_EQ(interned(""), "");
}

}  // namespace
}  // namespace polyrank
