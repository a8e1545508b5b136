#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/report/trace_json.h>
#include <report/sample_trace.h>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(TraceJson, OfNoLaunch) {
  EXPECT_EQ(to_json(CollectiveTrace()), R"({"schema_version": 1, "groups": [], "launches": []})");
}

TEST(TraceJson, HasTheFieldsOfALaunch) {
  CollectiveLaunch reduce = sample_launch(CollectiveKind::kAllReduce, RankSet::first(4));
  reduce.reduce_op = ReduceOp::kAvg;
  reduce.is_async = true;
  CollectiveLaunch send = sample_launch(CollectiveKind::kSend, RankSet::range(1, 2));
  send.root = CollectiveLaunch::kDiffers;
  const std::string json = to_json(*sample_trace({reduce, send}));
  EXPECT_THAT(json,
              StartsWith(R"({"schema_version": 1, "groups": [{"name": "7", "label": "mesh_dp", )"
                         R"("size": 2, "num_groups": 2, "ranks": "0,2"}], "launches": [)"
                         R"({"group": 0, "kind": "all_reduce", "operator": "c10d::an_operator", )"
                         R"("sequence": 0, "ranks": "0-3", "num_cohorts": 1, "num_groups": 2, )"
                         R"("reduce_op": "avg", "root": null, "tag": 0, "inputs": [)"
                         R"({"dtype": "float32", "shape": [4, null], "count": 1, "bytes": 64}])"));
  EXPECT_THAT(json,
              HasSubstr(R"("payload_bytes": 64, "wire_bytes": 64, "algorithm": "ring", )"
                        R"("async": true, "source": null, "module": "", "phase": "forward")"));
  EXPECT_THAT(json, HasSubstr(R"("waited": {"us": )"));
  EXPECT_THAT(json, HasSubstr(R"("waited": null})"));
  EXPECT_THAT(json, HasSubstr(R"("peer": "differs")"));
}

}  // namespace
}  // namespace polyrank
