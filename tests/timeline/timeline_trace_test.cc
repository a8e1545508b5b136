#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/timeline/timeline_trace.h>

#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Timeline example() {
  Timeline timeline;
  timeline.launch(0, 5'000, {.name = "aten::mm", .module = "layers.0", .flops = 12}, 2'000);
  timeline.launch(7, 9'000,
                  {.kind = WorkKind::kCommunication,
                   .name = "all_gather",
                   .group = "dp",
                   .detail = "ring, Simple"},
                  1'000);
  timeline.launch(0, 5'000, {.name = "aten::add"}, 1'000);
  timeline.host_wait_for_stream(7);
  timeline.end_step();
  return timeline;
}

TEST(TimelineTrace, HasARowForTheCpuAndForEachStream) {
  const std::string text = to_chrome_trace(example(), 3);
  for (const char* name : {"rank 3", "CPU", "stream 0", "stream 7"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\"name\": \"") + name + '"'));
  }
  EXPECT_THAT(text, Not(HasSubstr("stream 1")));
}

TEST(TimelineTrace, SeveralRanksAreAProcessEach) {
  Timeline late = example();
  late.tell_waited(1, 3'000, 3);
  const Timeline other = example();
  const std::string text = to_chrome_trace(
      std::vector{TracedRank{.rank = 3, .timeline = &other}, {.rank = 8, .timeline = &late}});
  for (const char* name : {"rank 3", "rank 8"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\"name\": \"") + name + '"'));
  }
  EXPECT_THAT(text, HasSubstr(R"("waited_for": "rank 3", "waited_us": 3.000)"));
  // Arrows of two processes have numbers of their own.
  std::size_t first_arrows = 0;
  for (std::size_t at = text.find("\"id\": 0}"); at != std::string::npos;
       at = text.find("\"id\": 0}", at + 1)) {
    ++first_arrows;
  }
  EXPECT_EQ(first_arrows, 2U);  // its start and its end
}

TEST(TimelineTrace, WorkHasItsTimesAndFacts) {
  const std::string text = to_chrome_trace(example(), 3);
  EXPECT_THAT(text,
              HasSubstr(R"("name": "aten::mm", "pid": 3, "tid": 1, "ts": 2.000, "dur": 5.000)"));
  EXPECT_THAT(text, HasSubstr(R"("module": "layers.0", "is_backward": false, "flops": 12)"));
  EXPECT_THAT(text, HasSubstr(R"("group": "dp", "how": "ring, Simple")"));
}

TEST(TimelineTrace, ArrowsStandWhereTheCpuWasAhead) {
  const std::string text = to_chrome_trace(example(), 3);
  EXPECT_THAT(
      text, HasSubstr(R"("ph": "s", "name": "launch", "pid": 3, "tid": 0, "ts": 3.000, "id": 0)"));
  EXPECT_THAT(text, Not(HasSubstr("\"id\": 1")));  // the others start when they are launched
}

TEST(TimelineTrace, WaitsAndStepsStandOnTheCpusRow) {
  const std::string text = to_chrome_trace(example(), 3);
  EXPECT_THAT(text, HasSubstr(R"("name": "wait", "pid": 3, "tid": 0, "ts": 4.000, "dur": 8.000)"));
  EXPECT_THAT(text, HasSubstr(R"("for": "all_gather")"));
  EXPECT_THAT(text, HasSubstr("end of step 1"));
}

}  // namespace
}  // namespace polyrank
