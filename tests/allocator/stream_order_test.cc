#include <gtest/gtest.h>
#include <polyrank/allocator/stream_order.h>

namespace polyrank {
namespace {

TEST(StreamOrder, WorkIsDoneWhenTheHostHasWaitedForIt) {
  StreamOrder order;
  const StreamMark mark = order.record(1);
  EXPECT_FALSE(order.is_done(1, mark.at(1)));  // (2)
  order.host_wait(mark);
  EXPECT_TRUE(order.is_done(1, mark.at(1)));  // (1)
  EXPECT_FALSE(order.is_done(1, order.record(1).at(1)));
}

TEST(StreamOrder, WaitingForAStreamIsWaitingForWhatItWaitedFor) {
  StreamOrder order;
  const StreamMark of_first = order.record(1);
  order.wait(2, of_first);
  const StreamMark later = order.record(1);  // stream 2 did not wait for this
  const StreamMark of_second = order.record(2);
  order.wait(3, of_second);
  order.host_wait(order.record(3));
  EXPECT_TRUE(order.is_done(1, of_first.at(1)));  // (1)
  EXPECT_TRUE(order.is_done(2, of_second.at(2)));
  EXPECT_FALSE(order.is_done(1, later.at(1)));  // (2)
}

TEST(StreamOrder, WaitingForAll) {
  StreamOrder order;
  const StreamMark first = order.record(1);
  const StreamMark second = order.record(2);
  order.host_wait_for_all();
  EXPECT_TRUE(order.is_done(1, first.at(1)));
  EXPECT_TRUE(order.is_done(2, second.at(2)));
  EXPECT_FALSE(order.is_done(3, 1));
}

}  // namespace
}  // namespace polyrank
