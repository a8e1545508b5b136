#include <gtest/gtest.h>
#include <polyrank/matching/board_memory.h>
#include <polyrank/matching/match_board.h>
#include <polyrank/shared_memory/arena.h>

#include <memory>
#include <string>

namespace polyrank {
namespace {

TEST(BoardMemoryTest, PiecesComeFromTheScopeAndGoBackWhereTheyCameFrom) {
  Arena arena;
  const std::size_t before = arena.used_bytes();
  auto outside = std::make_unique<BoardText>(std::string(100, 'a'));
  std::unique_ptr<BoardText> inside;
  {
    const BoardMemoryScope scope(&arena);
    inside = std::make_unique<BoardText>(*outside);
    EXPECT_TRUE(arena.contains(inside->data()));
    EXPECT_FALSE(arena.contains(outside->data()));
    outside.reset();
    {
      const BoardMemoryScope heap(nullptr);
      EXPECT_FALSE(arena.contains(BoardText(std::string(100, 'b')).data()));
    }
  }
  EXPECT_EQ(inside->str(), std::string(100, 'a'));
  EXPECT_GT(arena.used_bytes(), before);
  inside.reset();
  EXPECT_EQ(arena.used_bytes(), before);
}

TEST(BoardMemoryTest, ABoardLiesInOnePlaceWithAllThatItKnows) {
  Arena arena;
  const std::size_t before = arena.used_bytes();
  {
    const BoardMemoryScope scope(&arena);
    MatchBoard board(2);
    const auto group = board.join_group("a group with a name that is long", {0, 1});
    EXPECT_TRUE(arena.contains(group.get()));
    EXPECT_TRUE(arena.contains(group->name.data()));
    EXPECT_TRUE(arena.contains(group->members.data()));
    const Launch launch{.kind = CollectiveKind::kBarrier, .inputs = {{"float32", {4, 2}}}};
    const auto meeting = board.arrive(0, group, launch, nullptr);
    EXPECT_TRUE(arena.contains(meeting.get()));
    EXPECT_TRUE(arena.contains(meeting->launches[0].value().inputs[0].sizes.data()));
    board.set_waiting(0, meeting);
  }
  EXPECT_EQ(arena.used_bytes(), before);
}

}  // namespace
}  // namespace polyrank
