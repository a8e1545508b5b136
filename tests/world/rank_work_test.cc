#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <polyrank/world/rank_work.h>

#include <memory>
#include <vector>

namespace polyrank {
namespace {

// Complete at once.
class DoneWork final : public RankWork {
 public:
  using RankWork::RankWork;
  bool wait(std::chrono::milliseconds /*timeout*/) override {
    ++num_waits;
    note_seen();
    return true;
  }
  void join(DoneWork* part) { take_over(part); }

  int num_waits = 0;
};

class RankWorkTest : public ::testing::Test {
 protected:
  c10::intrusive_ptr<DoneWork> work_on(const at::Tensor& tensor) const {
    auto work = c10::make_intrusive<DoneWork>(0, in_flight_, std::vector<at::Tensor>{tensor},
                                              c10d::OpType::ALLREDUCE);
    auto meeting = std::make_shared<Meeting>();
    meeting->group = std::make_shared<const MeetingGroup>(MeetingGroup{"world", {0}});
    meeting->participants = {0};
    meeting->launches = {Launch{.kind = CollectiveKind::kAllReduce}};
    work->add_in_flight(in_flight_->add(meeting, {tensor}));
    return work;
  }
  std::size_t num_never_waited_for() const { return in_flight_->findings(0).size(); }

 private:
  std::shared_ptr<LaunchesInFlight> in_flight_ = std::make_shared<LaunchesInFlight>();
};

TEST_F(RankWorkTest, AWaitIsNoted) {
  const auto work = work_on(at::ones({2}));
  EXPECT_EQ(num_never_waited_for(), 1U);
  work->synchronize();
  EXPECT_EQ(work->num_waits, 1);
  EXPECT_EQ(num_never_waited_for(), 0U);
}

TEST_F(RankWorkTest, AFutureIsCompleteAndHasTheTensorsWritten) {
  const at::Tensor x = at::ones({2});
  const auto future = work_on(x)->getFuture();
  ASSERT_TRUE(future->completed());
  EXPECT_TRUE(future->value().toTensorVector().front().is_same(x));
  EXPECT_EQ(num_never_waited_for(), 0U);
}

TEST_F(RankWorkTest, WhatIsTakenOverIsWaitedForOnce) {
  const auto part = work_on(at::ones({2}));
  const auto whole = work_on(at::zeros({3}));
  whole->join(part.get());
  EXPECT_EQ(whole->result().size(), 2U);
  whole->wait(kNoTimeout);
  EXPECT_EQ(num_never_waited_for(), 0U);
  part->wait(kNoTimeout);  // has nothing left to note
}

}  // namespace
}  // namespace polyrank
