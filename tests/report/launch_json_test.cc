#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/report/launch_json.h>
#include <report/sample_trace.h>

namespace polyrank {
namespace {

using ::testing::HasSubstr;

std::string fields(const CollectiveLaunch& launch) {
  TracedLaunch traced;
  traced.launch = launch;
  traced.source = {"train.py", 12};
  traced.place = {"layers.0", true};
  JsonText json;
  json.begin_object();
  write_launch_fields(traced, &json);
  return json.end_object().text();
}

TEST(LaunchJson, TellsRootsFromPeers) {
  CollectiveLaunch launch = sample_launch(CollectiveKind::kBroadcast, RankSet::first(2));
  launch.root = 1;
  EXPECT_THAT(fields(launch), HasSubstr(R"("root": 1)"));
  launch.kind = CollectiveKind::kSend;
  EXPECT_THAT(fields(launch), HasSubstr(R"("peer": 1)"));
}

TEST(LaunchJson, TellsWhereItWasLaunched) {
  const std::string json = fields(sample_launch(CollectiveKind::kBarrier, RankSet::first(2)));
  EXPECT_THAT(json, HasSubstr(R"("source": {"file": "train.py", "line": 12}, )"
                              R"("module": "layers.0", "phase": "backward")"));
}

}  // namespace
}  // namespace polyrank
