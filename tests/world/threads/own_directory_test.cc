#include <gtest/gtest.h>
#include <polyrank/world/threads/own_directory.h>

#include <filesystem>
#include <thread>

namespace polyrank {
namespace {

namespace fs = std::filesystem;

TEST(OwnDirectoryTest, BelongsToAThreadAndToThoseThatItStarts) {
  const fs::path before = fs::current_path();
  fs::path at_first;
  fs::path of_started;
  bool is_own = false;
  std::thread([&] {
    is_own = own_directory();
    at_first = fs::current_path();
    fs::current_path("/");
    std::thread([&] { of_started = fs::current_path(); }).join();
  }).join();
  EXPECT_EQ(at_first, before);
  EXPECT_EQ(of_started, "/");
  EXPECT_EQ(fs::current_path(), is_own ? before : "/");
  fs::current_path(before);
}

}  // namespace
}  // namespace polyrank
