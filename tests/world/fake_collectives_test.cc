#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/world/fake_process_group.h>
#include <world/local_tensors.h>

#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Tensors = std::vector<at::Tensor>;
using Work = c10::intrusive_ptr<c10d::Work>;

constexpr int kSize = 3;

at::Tensor ramp() { return at::arange(3, at::kFloat) + 1; }
at::Tensor blank(std::int64_t size = 3) { return at::full({size}, 77.0F); }

// One collective by rank 1 of 3, and what it leaves in its outputs.
std::vector<float> after(const std::function<Work(FakeProcessGroup&, Tensors&)>& launch,
                         Tensors tensors) {
  const auto group = FakeProcessGroup::create(1, kSize);
  launch(*group, tensors)->wait(kNoTimeout);
  return values(at::cat(tensors));
}

TEST(FakeCollectives, EachWritesWhatEqualRanksGet) {
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

TEST(FakeCollectives, ListsOfLists) {
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

TEST(FakeCollectives, SparseTensorsAreSummed) {
  const auto group = FakeProcessGroup::create(1, kSize);
  Tensors tensors = {ramp().to_sparse()};
  group->allreduce_sparse(tensors, {})->wait(kNoTimeout);
  EXPECT_EQ(values(tensors[0].to_dense()), (std::vector<float>{3, 6, 9}));
  c10d::AllreduceOptions max;
  max.reduceOp = c10d::ReduceOp::MAX;
  EXPECT_THAT([&] { group->allreduce_sparse(tensors, max); },
              ThrowsMessage<CollectiveError>(HasSubstr("can only be summed")));
}

TEST(FakeCollectives, MessagesAndBarriersAreComplete) {
  const auto group = FakeProcessGroup::create(1, kSize);
  Tensors tensors = {ramp()};
  EXPECT_TRUE(group->send(tensors, 0, 4)->isCompleted());
  Tensors buffer = {blank()};
  EXPECT_EQ(group->recvAnysource(buffer, 4)->sourceRank(), 2);
  EXPECT_EQ(values(buffer[0]), values(ramp()));
  EXPECT_TRUE(group->barrier({})->isCompleted());
  group->monitoredBarrier({}, false);
}

TEST(FakeCollectives, ShapesOfArgumentsThatNoBackendTakesAreRefused) {
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
