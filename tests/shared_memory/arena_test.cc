#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/shared_memory/arena.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace polyrank {
namespace {

// Each byte of a block is the block's own.
void check_blocks(Arena& arena, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::pair<unsigned char*, std::size_t>> blocks;
  for (int step = 0; step < 2000; ++step) {
    if (blocks.size() < 40 && random() % 3 != 0) {
      const std::size_t num_bytes = std::size_t{1} << (random() % 20);
      auto* const block = static_cast<unsigned char*>(arena.allocate(num_bytes));
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % Arena::kAlignment, 0U);  // (2)
      ASSERT_TRUE(arena.contains(block));
      std::memset(block, static_cast<int>(num_bytes % 251), num_bytes);
      blocks.emplace_back(block, num_bytes);
    } else if (!blocks.empty()) {
      const std::size_t chosen = random() % blocks.size();
      const auto [block, num_bytes] = blocks[chosen];
      const auto value = static_cast<unsigned char>(num_bytes % 251);
      ASSERT_TRUE(block[0] == value && block[num_bytes - 1] == value);  // (1)
      arena.deallocate(block, num_bytes);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
  }
  for (const auto& [block, num_bytes] : blocks) {
    arena.deallocate(block, num_bytes);
  }
}

TEST(ArenaTest, BlocksDoNotOverlap) {
  Arena arena;
  check_blocks(arena, 1);
  EXPECT_EQ(arena.used_bytes(), 0U);
}

TEST(ArenaTest, ProcessesShareItAtOneAddress) {
  Arena arena;
  auto* const number = static_cast<int*>(arena.allocate(sizeof(int)));
  *number = 0;
  std::vector<pid_t> children;
  for (int child = 0; child < 3; ++child) {
    children.push_back(fork());
    if (children.back() == 0) {
      check_blocks(arena, static_cast<std::uint64_t>(child));
      __atomic_fetch_add(number, 1, __ATOMIC_SEQ_CST);
      _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(*number, 3);
  arena.deallocate(number, sizeof(int));
  EXPECT_EQ(arena.used_bytes(), 0U);
}

TEST(ArenaTest, LargeBlocksKeepTheirPagesUpToALimit) {
  Arena arena;
  constexpr std::size_t kHalf = Arena::kMaxKeptBytes / 2 + 1;
  void* const first = arena.allocate(kHalf);
  void* const second = arena.allocate(kHalf);
  arena.deallocate(first, kHalf);
  EXPECT_GE(arena.kept_bytes(), kHalf);
  arena.deallocate(second, kHalf);
  EXPECT_LE(arena.kept_bytes(), Arena::kMaxKeptBytes);
  EXPECT_EQ(arena.used_bytes(), 0U);
}

TEST(ArenaTest, SaysThatItIsFull) {
  Arena arena(std::size_t{1} << 26);
  EXPECT_THROW(static_cast<void>(arena.allocate(std::size_t{1} << 27)), Error);
  arena.deallocate(arena.allocate(1), 1);  // it goes on
}

}  // namespace
}  // namespace polyrank
