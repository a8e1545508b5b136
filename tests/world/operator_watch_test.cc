#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/api/collectives.h>
#include <polyrank/api/lockstep_world.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/operator_watch.h>

namespace polyrank {
namespace {

TEST(OperatorWatch, LeavesWhatAWorldRecordsToTheWorld) {
  const at::Tensor x = local_tensor({{1}, {2}});
  const LockstepWorld world(2);
  const auto trace = std::make_shared<CollectiveTrace>();
  {
    const OperatorWatch watch;
    collective_record().start(trace);
    all_reduce(x);
    collective_record().stop(trace);
  }
  ASSERT_EQ(trace->size(), 1U);
  EXPECT_EQ(trace->launches()[0].launch.cohorts.ranks().size(), 2);
  EXPECT_EQ(values_on_rank(x, 0), std::vector<float>{3});
}

TEST(OperatorWatch, LeavesNoKernelBehind) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("c10d::allreduce_", "");
  const auto kernel_before = op.dumpState();
  {
    const OperatorWatch watch;
    EXPECT_NE(op.dumpState(), kernel_before);
  }
  EXPECT_EQ(op.dumpState(), kernel_before);
}

}  // namespace
}  // namespace polyrank
