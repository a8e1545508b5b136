#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/core/errors.h>
#include <polyrank/report/collective_record.h>
#include <polyrank/world/fake/fake_process_group.h>
#include <polyrank/world/fake/fake_store.h>

#include <functional>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Tensors = std::vector<at::Tensor>;
using Work = c10::intrusive_ptr<c10d::Work>;

constexpr int kSize = 3;

c10::intrusive_ptr<FakeProcessGroup> group_of(int rank, int size,
                                              FakeValues values = FakeValues::kMirror) {
  const auto options = c10::make_intrusive<FakeOptions>();
  options->values = values;
  return FakeProcessGroup::create(rank, size, options);
}

TEST(FakeProcessGroup, CollectivesAreNumberedAndRecorded) {
  const auto group = group_of(1, 4);
  collective_record().reset();
  Tensors tensors = {at::ones({2})};
  EXPECT_EQ(group->getSequenceNumberForGroup(), 0U);
  group->allreduce(tensors, {});
  group->send(tensors, 0, 0);
  EXPECT_EQ(group->getSequenceNumberForGroup(), 1U);
  EXPECT_EQ(group->allreduce(tensors, {})->getSequencenumber(), 1U);
  const auto totals = collective_record().totals();
  ASSERT_EQ(totals.size(), 2U);
  EXPECT_EQ(totals[0].num_launches + totals[1].num_launches, 3);
  EXPECT_EQ(totals[0].group->ranks().to_string(), "0-3");
  collective_record().reset();
}

TEST(FakeProcessGroup, AMessageComesBackAsTheLastThatWasSent) {
  const auto group = group_of(1, 4);
  Tensors sent = {at::full({2}, 3.0F)};
  Tensors buffer = {at::full({2}, 77.0F)};
  group->recv(buffer, 0, 0)->wait(kNoTimeout);
  EXPECT_EQ(values(buffer[0]), (std::vector<float>{0, 0}));
  group->send(sent, 2, 0);
  const auto work = group->recv(buffer, 0, 0);
  EXPECT_EQ(values(buffer[0]), (std::vector<float>{3, 3}));
  EXPECT_EQ(work->sourceRank(), 0);
}

TEST(FakeProcessGroup, InABatchTheOrderOfSendAndReceiveDoesNotMatter) {
  const auto group = group_of(1, 4, FakeValues::kRefuse);
  Tensors sent = {at::full({2}, 3.0F)};
  Tensors buffer = {at::full({2}, 77.0F)};
  group->startCoalescing();
  group->recv(buffer, 0, 0);
  group->send(sent, 2, 0);
  group->endCoalescing()->wait(kNoTimeout);
  EXPECT_EQ(values(buffer[0]), (std::vector<float>{3, 3}));
  EXPECT_THAT([&] { group->endCoalescing(); },
              ThrowsMessage<CollectiveError>(HasSubstr("was not started")));
}

TEST(FakeProcessGroup, ReadingWhatIsUnknownCanBeRefused) {
  const auto group = group_of(0, 2, FakeValues::kRefuse);
  Tensors outputs = {at::ones({2})};
  std::vector<Tensors> inputs;
  const auto work = group->scatter(outputs, inputs, {.rootRank = 1});
  EXPECT_THAT([&] { work->wait(kNoTimeout); },
              ThrowsMessage<CollectiveError>(HasSubstr("what group rank 1 scatters")));
}

TEST(FakeProcessGroup, PyTorchsValuesLeaveTensorsAsTheyAre) {
  const auto group = group_of(0, 4, FakeValues::kPyTorch);
  Tensors tensors = {at::ones({2})};
  group->allreduce(tensors, {});
  group->recv(tensors, 1, 0);
  EXPECT_EQ(values(tensors[0]), (std::vector<float>{1, 1}));
}

TEST(FakeProcessGroup, SplitGivesTheGroupOfTheRanksNamed) {
  const auto rank = std::make_shared<const FakeRank>(6);
  const auto group = FakeProcessGroup::of_member(
      FakeMember(GroupFamily::fibers({{4, 2}}, 8), rank));  // of 6: 0, 2, 4, 6
  const auto half = group->split({}, {2, 3}, {});
  EXPECT_EQ(half->getRank(), 1);
  EXPECT_EQ(c10::static_intrusive_pointer_cast<FakeProcessGroup>(half)->member().to_string(),
            "4,6");
  EXPECT_FALSE(group->split({}, {0, 1}, {}));
  EXPECT_THAT([&] { group->split({}, {0, 4}, {}); },
              ThrowsMessage<UsageError>(HasSubstr("no group rank 4")));
  const auto merged = group->merge({}, {}, 5, 12);
  EXPECT_EQ(merged->getRank(), 5);
  EXPECT_EQ(merged->getSize(), 12);
}

TEST(FakeProcessGroup, AfterShutdownLaunchesAreErrors) {
  const auto group = group_of(0, 2);
  Tensors tensors = {at::ones({2})};
  group->shutdown();
  EXPECT_THAT([&] { group->allreduce(tensors, {}); },
              ThrowsMessage<CollectiveError>(HasSubstr("after the group was shut down")));
}

TEST(FakeProcessGroup, ChecksCanBeTurnedOff) {
  const auto options = c10::make_intrusive<FakeOptions>();
  options->checks = false;
  at::Tensor output = at::full({3}, 77.0F);
  at::Tensor input = at::ones({2});
  FakeProcessGroup::create(0, 4, options)->_allgather_base(output, input, {});
  EXPECT_EQ(values(output), (std::vector<float>{1, 1, 1}));
  EXPECT_THAT([&] { group_of(0, 4)->_allgather_base(output, input, {}); },
              ThrowsMessage<CollectiveError>(HasSubstr("4 times as many elements")));
}

TEST(FakeProcessGroup, OnlyItsOwnOptionsAndRanksAreTaken) {
  EXPECT_THAT(
      [] { FakeProcessGroup::create(0, 2, c10::make_intrusive<c10d::Backend::Options>("gloo")); },
      ThrowsMessage<UsageError>(HasSubstr("options of backend \"gloo\"")));
  EXPECT_THAT([] { FakeProcessGroup::create(2, 2); },
              ThrowsMessage<CollectiveError>(HasSubstr("no rank 2; valid: 0..1")));
}

TEST(FakeProcessGroup, AnInputMayBeAPartOfTheOutput) {
  const auto group = FakeProcessGroup::create(1, kSize);
  at::Tensor output = at::arange(6, at::kFloat);
  at::Tensor input = output.narrow(0, 2, 2);
  group->_allgather_base(output, input, {})->wait(kNoTimeout);
  EXPECT_EQ(values(output), (std::vector<float>{2, 3, 2, 3, 2, 3}));
}

TEST(FakeGroup, ItsRankIsTheOneThatRuns) {
  const auto rank = std::make_shared<FakeRank>(3);
  const auto backend =
      FakeProcessGroup::of_member(FakeMember(GroupFamily::fibers({{4, 1}}, 8), rank));
  const FakeGroup group(c10::make_intrusive<FakeStore>(), backend, {c10::kCPU, c10::kCUDA});
  EXPECT_EQ(group.getRank(), 3);
  rank->value = 4;
  EXPECT_EQ(group.getRank(), 0);
  EXPECT_EQ(group.getSize(), 4);
}

at::Tensor ramp() { return at::arange(3, at::kFloat) + 1; }
at::Tensor blank(std::int64_t size = 3) { return at::full({size}, 77.0F); }

// One collective by rank 1 of 3, and what it leaves in its outputs.
std::vector<float> after(const std::function<Work(FakeProcessGroup&, Tensors&)>& launch,
                         Tensors tensors) {
  const auto group = FakeProcessGroup::create(1, kSize);
  launch(*group, tensors)->wait(kNoTimeout);
  return values(at::cat(tensors));
}

TEST(FakeProcessGroup, EachWritesWhatEqualRanksGet) {
  using Floats = std::vector<float>;
  Tensors in = {ramp()};
  EXPECT_EQ(after([](auto& g, auto& t) { return g.broadcast(t, {}); }, {ramp()}),
            (Floats{1, 2, 3}));
  EXPECT_EQ(after([](auto& g, auto& t) { return g.allreduce(t, {}); }, {ramp()}),
            (Floats{3, 6, 9}));
  EXPECT_EQ(after([](auto& g, auto& t) { return g.allreduce_coalesced(t, {}); }, {ramp(), ramp()}),
            (Floats{3, 6, 9, 3, 6, 9}));
  EXPECT_EQ(after([](auto& g, auto& t) { return g.reduce(t, {}); }, {ramp()}), (Floats{1, 2, 3}));
  EXPECT_EQ(after([&](auto& g, auto& t) { return g._allgather_base(t[0], in[0], {}); }, {blank(9)}),
            (Floats{1, 2, 3, 1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(after([&](auto& g, auto& t) { return g.allgather_into_tensor_coalesced(t, in, {}); },
                  {blank(9)}),
            (Floats{1, 2, 3, 1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(
      after([&](auto& g, auto& t) { return g._reduce_scatter_base(t[0], in[0], {}); }, {blank(1)}),
      (Floats{6}));
  EXPECT_EQ(after([&](auto& g, auto& t) { return g.reduce_scatter_tensor_coalesced(t, in, {}); },
                  {blank(1)}),
            (Floats{6}));
  std::vector<std::int64_t> even;
  EXPECT_EQ(after([&](auto& g, auto& t) { return g.alltoall_base(t[0], in[0], even, even, {}); },
                  {blank()}),
            (Floats{2, 2, 2}));
  Tensors list = {blank(1), at::full({1}, 5.0F), blank(1)};
  EXPECT_EQ(after([&](auto& g, auto& t) { return g.alltoall(t, list, {}); },
                  {blank(1), blank(1), blank(1)}),
            (Floats{5, 5, 5}));
}

TEST(FakeProcessGroup, ListsOfLists) {
  using Floats = std::vector<float>;
  const auto group = FakeProcessGroup::create(1, kSize);
  Tensors in = {ramp()};
  std::vector<Tensors> lists = {{blank(), blank(), blank()}};
  group->allgather(lists, in, {})->wait(kNoTimeout);
  EXPECT_EQ(values(at::cat(lists[0])), (Floats{1, 2, 3, 1, 2, 3, 1, 2, 3}));
  lists = {{blank()}, {blank()}, {blank()}};
  group->allgather_coalesced(lists, in, {})->wait(kNoTimeout);
  EXPECT_EQ(values(lists[2][0]), (Floats{1, 2, 3}));
  lists = {{blank(), blank(), blank()}};
  group->gather(lists, in, {.rootRank = 1})->wait(kNoTimeout);
  EXPECT_EQ(values(lists[0][2]), (Floats{1, 2, 3}));
  lists = {{blank(), ramp(), blank()}};
  Tensors out = {blank()};
  group->scatter(out, lists, {.rootRank = 1})->wait(kNoTimeout);
  EXPECT_EQ(values(out[0]), (Floats{1, 2, 3}));
  group->reduce_scatter(out, lists, {})->wait(kNoTimeout);
  EXPECT_EQ(values(out[0]), (Floats{3, 6, 9}));
}

TEST(FakeProcessGroup, SparseTensorsAreSummed) {
  const auto group = FakeProcessGroup::create(1, kSize);
  Tensors tensors = {ramp().to_sparse()};
  group->allreduce_sparse(tensors, {})->wait(kNoTimeout);
  EXPECT_EQ(values(tensors[0].to_dense()), (std::vector<float>{3, 6, 9}));
  c10d::AllreduceOptions max;
  max.reduceOp = c10d::ReduceOp::MAX;
  EXPECT_THAT([&] { group->allreduce_sparse(tensors, max); },
              ThrowsMessage<CollectiveError>(HasSubstr("sum sparse (COO) tensors")));
}

TEST(FakeProcessGroup, MessagesAndBarriersAreComplete) {
  const auto group = FakeProcessGroup::create(1, kSize);
  Tensors tensors = {ramp()};
  EXPECT_TRUE(group->send(tensors, 0, 4)->isCompleted());
  Tensors buffer = {blank()};
  EXPECT_EQ(group->recvAnysource(buffer, 4)->sourceRank(), 2);
  EXPECT_EQ(values(buffer[0]), values(ramp()));
  EXPECT_TRUE(group->barrier({})->isCompleted());
  group->monitoredBarrier({}, false);
}

TEST(FakeProcessGroup, ShapesOfArgumentsThatNoBackendTakesAreRefused) {
  const auto group = FakeProcessGroup::create(1, kSize);
  Tensors two = {ramp(), ramp()};
  Tensors one = {ramp()};
  EXPECT_THAT([&] { group->allreduce(two, {}); },
              ThrowsMessage<CollectiveError>(HasSubstr("was given 2 tensors")));
  EXPECT_THAT([&] { group->reduce_scatter_tensor_coalesced(one, two, {}); },
              ThrowsMessage<CollectiveError>(HasSubstr("2 inputs and 1 outputs")));
  std::vector<Tensors> none;
  EXPECT_THAT([&] { group->allgather(none, one, {}); },
              ThrowsMessage<CollectiveError>(HasSubstr("was given 0 lists")));
}

}  // namespace
}  // namespace polyrank
