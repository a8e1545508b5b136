#include <gtest/gtest.h>
#include <polyrank/core/memo_table.h>

#include <functional>
#include <stdexcept>

namespace polyrank {
namespace {

using Table = MemoTable<int, int, std::hash<int>>;

TEST(MemoTable, MakesEachResultOnce) {
  Table table;
  int num_made = 0;
  const auto square_of = [&](int key) {
    return table.get(key, 1, [&] {
      ++num_made;
      return key * key;
    });
  };
  for (int round = 0; round < 3; ++round) {
    for (int key = 0; key < 100; ++key) {
      EXPECT_EQ(square_of(key), key * key);
    }
  }
  EXPECT_EQ(num_made, 100);
}

TEST(MemoTable, IsClearedWhenItHoldsTheMostEntries) {
  Table table;
  const auto fail = [] { return -1; };
  for (int key = 0; key < static_cast<int>(Table::kMaxEntries); ++key) {
    table.get(key, 1, [] { return 1; });
  }
  EXPECT_EQ(table.get(0, 1, fail), 1);
  table.get(-5, 1, [] { return 1; });  // one too many
  EXPECT_EQ(table.get(0, 1, fail), -1);
  EXPECT_EQ(table.get(-5, 1, fail), 1);
}

TEST(MemoTable, IsClearedWhenItHoldsTheMostCost) {
  Table table;
  constexpr std::size_t kHalf = Table::kMaxCost / 2;
  table.get(0, kHalf, [] { return 1; });
  table.get(1, kHalf, [] { return 1; });
  EXPECT_EQ(table.get(0, kHalf, [] { return 2; }), 1);
  table.get(2, 1, [] { return 1; });
  EXPECT_EQ(table.get(0, kHalf, [] { return 2; }), 2);
  table.get(3, Table::kMaxCost + 1, [] { return 3; });  // kept alone
  EXPECT_EQ(table.get(3, 1, [] { return -1; }), 3);
}

TEST(MemoTable, AFailureIsNotRemembered) {
  Table table;
  EXPECT_THROW(table.get(1, 1, []() -> int { throw std::runtime_error("no"); }),
               std::runtime_error);
  EXPECT_EQ(table.get(1, 1, [] { return 4; }), 4);
}

TEST(MemoTable, MakingAResultMayUseTheTable) {
  Table table;
  const std::function<int(int)> fibonacci = [&](int n) -> int {
    return table.get(n, 1, [&] { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); });
  };
  EXPECT_EQ(fibonacci(40), 102334155);
}

}  // namespace
}  // namespace polyrank
