#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <polyrank/exchange/collective_work.h>

namespace polyrank {
namespace {

TEST(CompletedWork, IsCompleteAndHoldsTheResults) {
  const at::Tensor tensor = at::ones({2});
  const c10::intrusive_ptr<c10d::Work> work = CompletedWork::make({tensor});
  EXPECT_TRUE(work->isCompleted());
  EXPECT_TRUE(work->isSuccess());
  EXPECT_TRUE(work->wait());
  EXPECT_TRUE(work->result().front().is_same(tensor));
}

TEST(CompletedWork, FutureHoldsTheListOfTensors) {
  const at::Tensor tensor = at::ones({2});
  const auto future = CompletedWork::make({tensor, tensor})->getFuture();
  EXPECT_TRUE(future->completed());
  const auto value = future->value().toTensorVector();
  ASSERT_EQ(value.size(), 2U);
  EXPECT_TRUE(value.front().is_same(tensor));
  bool was_called = false;
  future->addCallback([&](c10::ivalue::Future&) { was_called = true; });
  EXPECT_TRUE(was_called);
}

TEST(CompletedWork, OfABarrierHasAnEmptyResult) {
  EXPECT_TRUE(CompletedWork::make({})->getFuture()->value().toTensorVector().empty());
  EXPECT_TRUE(CompletedWork::make({})->getFutureResult()->completed());
}

}  // namespace
}  // namespace polyrank
