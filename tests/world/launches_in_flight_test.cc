#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/world/launches_in_flight.h>

namespace polyrank {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Rank 1's barrier, the launch of that number.
std::shared_ptr<Meeting> barrier(std::int64_t sequence) {
  auto meeting = std::make_shared<Meeting>();
  meeting->group = std::make_shared<MeetingGroup>(MeetingGroup{.name = "world", .members = {0, 1}});
  meeting->sequence = sequence;
  meeting->participants = {0, 1};
  meeting->launches.resize(2);
  meeting->launches[1] = Launch{.kind = CollectiveKind::kBarrier, .where = "s.py:3"};
  return meeting;
}

TEST(LaunchesInFlight, SaysWhatWasNeverWaitedFor) {
  LaunchesInFlight launches;
  launches.waited(launches.add(barrier(0), {}));
  launches.add(barrier(1), {});
  EXPECT_THAT(launches.findings(1),
              ElementsAre("barrier (launch #1 of group \"world\") was never waited for  s.py:3"));
}

TEST(LaunchesInFlight, SaysWhichTensorsWereWrittenBeforeTheWait) {
  LaunchesInFlight launches;
  const at::Tensor x = at::zeros({4});
  const auto untouched = launches.add(barrier(0), {x});
  launches.waited(untouched);
  x.add_(1);
  const auto touched = launches.add(barrier(1), {x});
  x.view({2, 2}).add_(1);
  launches.waited(touched);
  EXPECT_THAT(
      launches.findings(1),
      ElementsAre("barrier (launch #1 of group \"world\"): its tensor was written before the "
                  "wait  s.py:3"));
}

TEST(LaunchesInFlight, AnotherPartOfAViewsMemoryMayBeWritten) {
  LaunchesInFlight launches;
  const at::Tensor base = at::zeros({4});
  const auto id = launches.add(barrier(0), {base.narrow(0, 0, 2)});
  base.narrow(0, 2, 2).add_(1);
  launches.waited(id);
  EXPECT_THAT(launches.findings(1), IsEmpty());
}

TEST(LaunchesInFlight, ManyAreCounted) {
  LaunchesInFlight launches;
  std::vector<LaunchesInFlight::Id> ids;
  ids.reserve(150);
  for (int i = 0; i < 150; ++i) {
    ids.push_back(launches.add(barrier(i), {}));
  }
  EXPECT_THAT(launches.findings(1), Contains("50 more were never waited for"));
  for (const auto id : ids) {
    launches.waited(id);
  }
  EXPECT_THAT(launches.findings(1), IsEmpty());
}

}  // namespace
}  // namespace polyrank
