#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/report/trace_json.h>
#include <report/sample_trace.h>

#include <string>
#include <string_view>

namespace polyrank {
namespace {

using ::testing::HasSubstr;

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

TEST(ChromeTrace, HasOneRowForRanksThatLaunchTheSame) {
  const std::string json = to_chrome_trace(
      *sample_trace({sample_launch(CollectiveKind::kAllReduce, RankSet::first(8)),
                     sample_launch(CollectiveKind::kSend, RankSet::range(2, 3)),
                     sample_launch(CollectiveKind::kBarrier, RankSet::range(2, 6))}));
  EXPECT_EQ(count(json, "thread_name"), 3U);  // (1)
  EXPECT_THAT(json, HasSubstr(R"("name": "ranks 0-1,6-7")"));
  EXPECT_THAT(json, HasSubstr(R"("name": "rank 2")"));
  EXPECT_THAT(json, HasSubstr(R"("name": "ranks 3-5")"));
  EXPECT_EQ(count(json, R"("name": "all_reduce")"), 3U);
  EXPECT_EQ(count(json, R"("name": "send")"), 1U);
  EXPECT_EQ(count(json, R"("name": "barrier")"), 2U);
}

TEST(ChromeTrace, DrawsAnArrowToTheWait) {
  const std::string json = to_chrome_trace(
      *sample_trace({sample_launch(CollectiveKind::kAllReduce, RankSet::first(4))}));
  EXPECT_EQ(count(json, R"("ph": "s")"), 1U);
  EXPECT_EQ(count(json, R"("ph": "f")"), 1U);
  EXPECT_THAT(json, HasSubstr(R"("for": "all_reduce")"));
}

}  // namespace
}  // namespace polyrank
