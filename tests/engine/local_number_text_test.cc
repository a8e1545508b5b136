#include <gtest/gtest.h>
#include <polyrank/engine/local_number_text.h>

#include <limits>
#include <vector>

namespace polyrank {
namespace {

LocalInt ints(const std::vector<std::int64_t>& value_of_rank) {
  const auto world_size = static_cast<std::int64_t>(value_of_rank.size());
  return {RankPartition::identity(RankSet::first(world_size)), value_of_rank};
}

TEST(LocalNumberText, NumbersReadAsInPython) {
  EXPECT_EQ(to_text(std::int64_t{-7}), "-7");
  EXPECT_EQ(to_text(true), "True");
  EXPECT_EQ(to_text(1.0), "1.0");
  EXPECT_EQ(to_text(-0.0), "-0.0");
  EXPECT_EQ(to_text(0.1), "0.1");
  EXPECT_EQ(to_text(100000.0), "100000.0");
  EXPECT_EQ(to_text(1e16), "1e+16");
  EXPECT_EQ(to_text(1.5e-5), "1.5e-05");
  EXPECT_EQ(to_text(0.0001), "0.0001");
  EXPECT_EQ(to_text(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(to_text(std::numeric_limits<double>::quiet_NaN()), "nan");
}

TEST(LocalNumberText, ShowsCohortsNotRanks) {
  const LocalInt number = ints({0, 0, 0, 0, 1, 1, 2, 1});
  EXPECT_EQ(repr(number), "LocalIntNode({0-3: 0, 4-5,7: 1, 6: 2})");
  EXPECT_EQ(describe(number), "0 on ranks 0-3, 1 on ranks 4-5,7, 2 on rank 6");
}

TEST(LocalNumberText, NamesTheKind) {
  const RankPartition two = RankPartition::identity(RankSet::first(2));
  EXPECT_EQ(repr(LocalFloat(two, std::vector{0.5, 1.0})), "LocalFloatNode({0: 0.5, 1: 1.0})");
  const std::array bools = {true, false};
  EXPECT_EQ(repr(LocalBool(two, bools)), "LocalBoolNode({0: True, 1: False})");
  EXPECT_EQ(repr(ints({3, 3})), "3");
}

TEST(LocalNumberText, IsShortForManyRanks) {
  std::vector<std::int64_t> values(100000);
  for (std::size_t rank = 0; rank < values.size(); ++rank) {
    values[rank] = static_cast<std::int64_t>(rank) * 2;
  }
  const LocalInt number = ints(values);
  EXPECT_EQ(repr(number),
            "LocalIntNode({0: 0, 1: 2, 2: 4, 3: 6, 4: 8, 5: 10, …, 99999: 199998}, 100000 "
            "cohorts)");
  EXPECT_EQ(describe(number),
            "0 on rank 0, 2 on rank 1, 4 on rank 2, 6 on rank 3, 8 on rank 4, 10 on rank 5, …, "
            "199998 on rank 99999 (100000 different values)");
  for (std::size_t rank = 0; rank < values.size(); ++rank) {
    values[rank] = static_cast<std::int64_t>(rank % 2);
  }
  EXPECT_LT(describe(ints(values)).size(), 100);
}

}  // namespace
}  // namespace polyrank
