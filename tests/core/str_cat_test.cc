#include <gtest/gtest.h>
#include <polyrank/core/str_cat.h>

#include <cstdint>
#include <string>

namespace polyrank {
namespace {

TEST(StrCat, JoinsAsTheStreamOperatorsWrite) {
  EXPECT_EQ(str_cat("rank ", std::int64_t{7}, " of ", std::string("dp"), ','), "rank 7 of dp,");
}

}  // namespace
}  // namespace polyrank
