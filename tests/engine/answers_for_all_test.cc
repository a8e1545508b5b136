#include <gtest/gtest.h>
#include <local_tensors.h>
#include <polyrank/engine/answers_for_all.h>
#include <polyrank/engine/local_int_node.h>

#include <thread>

namespace polyrank {
namespace {

TEST(AnswersForAll, AreCountedWhereRanksDisagreeOnly) {
  const at::Tensor x = local_tensor({{1}, {1, 2}});
  const std::uint64_t before = answers_for_all();
  EXPECT_TRUE(x.sym_size(0) != 3);
  EXPECT_EQ(answers_for_all(), before);
  EXPECT_FALSE(x.sym_size(0) == 2);
  EXPECT_TRUE(x.sym_size(0) != 2);
  EXPECT_EQ(answers_for_all(), before + 2);
}

TEST(AnswersForAll, AreTheThreadsOwn) {
  count_answer_for_all();
  std::uint64_t of_thread = 1;
  std::thread([&] { of_thread = answers_for_all(); }).join();
  EXPECT_EQ(of_thread, 0);
}

}  // namespace
}  // namespace polyrank
