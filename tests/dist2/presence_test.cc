#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/dist2/presence.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

namespace polyrank::dist2 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(Presence, AProcessIsThereAsLongAsItLives) {
  // A child says where it can be asked, and ends when told to.
  std::array<int, 2> said{};
  std::array<int, 2> end{};
  ASSERT_EQ(::pipe(said.data()), 0);
  ASSERT_EQ(::pipe(end.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string address = own_address();
    (void)!::write(said[1], address.data(), address.size());
    char byte = 0;
    (void)!::read(end[0], &byte, 1);
    ::_exit(0);
  }
  std::string address(100, '\0');
  address.resize(static_cast<std::size_t>(::read(said[0], address.data(), address.size())));
  for (int i = 0; i < 5; ++i) {  // asked again and again, and accepted never
    EXPECT_FALSE(has_ended(address, milliseconds(1000))) << address;
  }
  ASSERT_EQ(::write(end[1], "x", 1), 1);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(has_ended(address, milliseconds(1000)));
}

TEST(Presence, AChildDoesNotAnswerForItsParent) {
  std::array<int, 2> said{};
  ASSERT_EQ(::pipe(said.data()), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const std::string address = own_address();
    if (::fork() == 0) {
      ::sleep(5);  // NOLINT(concurrency-mt-unsafe)
      ::_exit(0);
    }
    (void)!::write(said[1], address.data(), address.size());
    ::_exit(0);
  }
  std::string address(100, '\0');
  address.resize(static_cast<std::size_t>(::read(said[0], address.data(), address.size())));
  ::waitpid(parent, nullptr, 0);
  bool ended = false;  // as soon as the child has come out of fork()
  for (int tries = 0; tries < 100 && !ended; ++tries) {
    ended = has_ended(address, milliseconds(1000));
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(ended);
}

TEST(Presence, ARollCallNamesWhoDidNotCome) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  EXPECT_EQ(roll_call(store, 0, 1, milliseconds(100)), std::vector<std::string>{own_address()});
  EXPECT_THAT([&] { roll_call(store, 2, 5, milliseconds(200)); },
              ThrowsMessage<CollectiveError>(HasSubstr(
                  "rank 2 of 5: no process group, since ranks 1,3-4 did not come within 200 ms")));
}

}  // namespace
}  // namespace polyrank::dist2
