#include <gtest/gtest.h>
#include <polyrank/shared_memory/arena_block.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <utility>
#include <vector>

namespace polyrank {
namespace {

struct Piece {
  unsigned char* bytes;
  std::size_t size;
  unsigned char value;
};

std::vector<Piece> take_pieces(ArenaBlock& block, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Piece> pieces;
  for (int i = 0; i < 50; ++i) {
    // Some do not fit, even into an empty block.
    const std::size_t size = i % 10 == 9 ? 2 * ArenaBlock::kBytes : random() % 200;
    auto* const bytes = static_cast<unsigned char*>(block.allocate(size));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes) % alignof(std::max_align_t), 0U);  // (2)
    const auto value = static_cast<unsigned char>(i + 1);
    std::memset(bytes, value, size);
    pieces.push_back({bytes, size, value});
  }
  return pieces;
}

void check_and_give_back(ArenaBlock& block, const std::vector<Piece>& pieces) {
  for (const Piece& piece : pieces) {
    for (std::size_t i = 0; i < piece.size; ++i) {
      ASSERT_EQ(piece.bytes[i], piece.value);  // (1)
    }
  }
  for (const Piece& piece : pieces) {
    block.deallocate(piece.bytes, piece.size);
  }
}

TEST(ArenaBlockTest, GoesBackWhenItIsSealedAndItsPiecesAreBack) {
  Arena arena;
  ArenaBlock::Open open = ArenaBlock::make(&arena);
  ArenaBlock* const block = open.get();
  check_and_give_back(*block, take_pieces(*block, 1));
  EXPECT_GT(arena.used_bytes(), 0U);  // more may be asked for
  const std::vector<Piece> pieces = take_pieces(*block, 2);
  open.reset();
  EXPECT_GT(arena.used_bytes(), 0U);
  check_and_give_back(*block, pieces);
  EXPECT_EQ(arena.used_bytes(), 0U);  // (3)
}

TEST(ArenaBlockTest, WithoutPiecesItGoesAtOnce) {
  Arena arena;
  ArenaBlock::make(&arena).reset();
  EXPECT_EQ(arena.used_bytes(), 0U);
}

TEST(ArenaBlockTest, AnotherProcessMayGiveAPieceBack) {
  Arena arena;
  ArenaBlock::Open open = ArenaBlock::make(&arena);
  ArenaBlock* const block = open.get();
  const std::vector<Piece> pieces = take_pieces(*block, 3);
  open.reset();
  const pid_t child = fork();
  if (child == 0) {
    check_and_give_back(*block, pieces);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(arena.used_bytes(), 0U);
}

}  // namespace
}  // namespace polyrank
