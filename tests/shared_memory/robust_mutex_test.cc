#include <gtest/gtest.h>
#include <polyrank/shared_memory/arena.h>
#include <polyrank/shared_memory/robust_mutex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>

namespace polyrank {
namespace {

TEST(RobustMutexTest, SaysOnceThatItsHolderDied) {
  Arena arena;
  auto* const mutex = new (arena.allocate(sizeof(RobustMutex))) RobustMutex;
  const pid_t child = fork();
  if (child == 0) {
    _exit(mutex->lock() ? 0 : 1);  // without unlock()
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(mutex->lock());
  mutex->unlock();
  EXPECT_TRUE(mutex->lock());
  mutex->unlock();
}

}  // namespace
}  // namespace polyrank
