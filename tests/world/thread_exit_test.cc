#include <gtest/gtest.h>
#include <polyrank/world/thread_exit.h>

#include <chrono>
#include <future>
#include <thread>

namespace polyrank {
namespace {

using namespace std::chrono_literals;

TEST(ThreadExitTest, IsReadyAfterThreadLocalsOfTheThreadAreDestroyed) {
  static bool is_destroyed = false;
  struct Late {
    ~Late() {
      std::this_thread::sleep_for(20ms);
      is_destroyed = true;
    }
  };
  std::promise<std::shared_future<void>> exit;
  std::thread thread([&] {
    exit.set_value(exit_of_this_thread());
    thread_local Late late;
    static_cast<void>(late);
  });
  exit.get_future().get().wait();
  EXPECT_TRUE(is_destroyed);
  thread.join();
}

TEST(ThreadExitTest, IsNotReadyWhileTheThreadRuns) {
  EXPECT_EQ(exit_of_this_thread().wait_for(0s), std::future_status::timeout);
}

}  // namespace
}  // namespace polyrank
