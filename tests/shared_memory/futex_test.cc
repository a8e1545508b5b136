#include <gtest/gtest.h>
#include <polyrank/shared_memory/arena.h>
#include <polyrank/shared_memory/futex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>

namespace polyrank {
namespace {

using Word = std::atomic<std::uint32_t>;

TEST(FutexTest, DoesNotSleepWhereTheWordIsAnother) {
  const Word word = 1;
  EXPECT_EQ(futex_wait(word, 0, std::nullopt), FutexResult::kWoken);
}

TEST(FutexTest, SleepsNoLongerThanItMay) {
  const Word word = 0;
  EXPECT_EQ(futex_wait(word, 0, std::chrono::milliseconds(2)), FutexResult::kTimeout);
}

TEST(FutexTest, AnotherProcessWakes) {
  Arena arena;
  auto* const word = new (arena.allocate(sizeof(Word))) Word(0);
  const pid_t child = fork();
  if (child == 0) {
    while (*word == 0) {
      futex_wait(*word, 0, std::nullopt);
    }
    _exit(0);
  }
  *word = 1;
  futex_wake_all(*word);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace polyrank
