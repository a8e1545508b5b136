#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/collective/reduction_order.h>
#include <polyrank/core/errors.h>

#include <set>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

ReducedElements elements_of(std::int64_t total, CollectiveKind kind = CollectiveKind::kAllReduce) {
  return {.kind = kind, .root = 0, .element_size = 4, .total = total, .begin = 0, .length = total};
}

// How the sum of a part is put together, as "((1+2)+3)+0".
std::string written(const FoldPart& part, std::int64_t num_members) {
  std::vector<std::string> sums;
  for (std::int64_t member = 0; member < num_members; ++member) {
    sums.push_back(std::to_string(member));
  }
  for (const FoldStep& step : part.steps) {
    std::string& into = sums[static_cast<std::size_t>(step.into)];
    into = "(" + into + "+" + sums[static_cast<std::size_t>(step.from)] + ")";
  }
  return sums[static_cast<std::size_t>(part.result)];
}

std::vector<std::string> all_written(const ReductionAlgorithm& algorithm,
                                     const ReducedElements& elements, std::int64_t num_members) {
  std::vector<std::string> result;
  for (const FoldPart& part : fold_parts(algorithm, elements, num_members)) {
    result.push_back(std::to_string(part.begin) + "-" + std::to_string(part.end) + " " +
                     written(part, num_members));
  }
  return result;
}

ReductionAlgorithm with_channels(ReductionOrder order, std::int64_t num_channels) {
  ReductionAlgorithm algorithm = order;
  algorithm.num_channels = num_channels;
  return algorithm;
}

void check_parts(const ReductionAlgorithm& algorithm, const ReducedElements& elements,
                 std::int64_t num_members) {
  std::int64_t at = 0;
  for (const FoldPart& part : fold_parts(algorithm, elements, num_members)) {
    EXPECT_EQ(part.begin, at);  // (1)
    EXPECT_LT(part.begin, part.end);
    at = part.end;
    std::set<std::int64_t> taken;
    for (const FoldStep& step : part.steps) {  // (2)
      EXPECT_FALSE(taken.contains(step.into));
      EXPECT_TRUE(taken.insert(step.from).second);
      EXPECT_NE(step.from, part.result);
    }
    EXPECT_EQ(taken.size(), static_cast<std::size_t>(num_members - 1));
  }
  EXPECT_EQ(at, elements.length);
}

TEST(FoldParts, CoverAllElementsAndMembers) {
  for (const ReductionOrder order : {ReductionOrder::kGloo, ReductionOrder::kNcclRing,
                                     ReductionOrder::kNcclTree, ReductionOrder::kHalvingDoubling}) {
    for (std::int64_t num_members = 1; num_members <= 17; ++num_members) {
      for (const std::int64_t total : {0, 1, 5, 64, 1000, 100'000, 3'000'000}) {
        for (const std::int64_t channels : {1, 2, 3, 8, 32}) {
          check_parts(with_channels(order, channels), elements_of(total), num_members);
        }
      }
      check_parts(order, elements_of(num_members * 6, CollectiveKind::kReduceScatter), num_members);
      check_parts(order, elements_of(7, CollectiveKind::kReduce), num_members);
    }
  }
}

TEST(FoldParts, OfAPieceAreThoseOfTheWhole) {
  for (const ReductionOrder order : {ReductionOrder::kGloo, ReductionOrder::kNcclRing}) {
    const ReducedElements whole = elements_of(100);
    ReducedElements piece = whole;
    piece.begin = 20;
    piece.length = 31;
    check_parts(order, piece, 4);
    for (const FoldPart& part : fold_parts(order, piece, 4)) {
      for (const FoldPart& larger : fold_parts(order, whole, 4)) {
        if (larger.begin <= part.begin + 20 && part.begin + 20 < larger.end) {
          EXPECT_EQ(part.steps, larger.steps);
        }
      }
    }
  }
}

TEST(FoldParts, GlooGoesDownTheRing) {
  EXPECT_THAT(all_written(ReductionOrder::kGloo, elements_of(8), 4),
              ElementsAre("0-2 (((3+2)+1)+0)", "2-4 (((0+3)+2)+1)", "4-6 (((1+0)+3)+2)",
                          "6-8 (((2+1)+0)+3)"));
}

TEST(FoldParts, NcclGoesUpTheRing) {
  EXPECT_THAT(all_written(ReductionOrder::kNcclRing, elements_of(12), 3),
              ElementsAre("0-4 ((1+2)+0)", "4-8 ((2+0)+1)", "8-12 ((0+1)+2)"));
  // What each rank gets of reduce_scatter ends there, and what the root gets of reduce.
  EXPECT_THAT(
      all_written(ReductionOrder::kNcclRing, elements_of(6, CollectiveKind::kReduceScatter), 3),
      ElementsAre("0-2 ((1+2)+0)", "2-4 ((2+0)+1)", "4-6 ((0+1)+2)"));
  ReducedElements reduced = elements_of(6, CollectiveKind::kReduce);
  reduced.root = 1;
  EXPECT_THAT(all_written(ReductionOrder::kNcclRing, reduced, 3), ElementsAre("0-6 ((2+0)+1)"));
}

TEST(FoldParts, NcclChannelsAreContiguousAndGoRoundInChunks) {
  // 8 KiB a channel is the least, so that two channels share 4096 floats.
  EXPECT_THAT(all_written(with_channels(ReductionOrder::kNcclRing, 2), elements_of(4096), 2),
              ElementsAre("0-1024 (1+0)", "1024-2048 (0+1)", "2048-3072 (1+0)", "3072-4096 (0+1)"));
  ReductionAlgorithm in_chunks = ReductionOrder::kNcclRing;
  in_chunks.chunk_bytes = 64;
  EXPECT_THAT(all_written(in_chunks, elements_of(40), 2),
              ElementsAre("0-16 (1+0)", "16-32 (0+1)", "32-36 (1+0)", "36-40 (0+1)"));
}

TEST(FoldParts, NcclTreesAreAChainWithinANodeAndTwoTreesOverNodes) {
  EXPECT_THAT(all_written(ReductionOrder::kNcclTree, elements_of(4), 4),
              ElementsAre("0-4 (0+(1+(2+3)))"));
  ReductionAlgorithm over_nodes = with_channels(ReductionOrder::kNcclTree, 2);
  over_nodes.ranks_per_node = 1;
  EXPECT_THAT(all_written(over_nodes, elements_of(4096), 4),
              ElementsAre("0-2048 (0+((2+1)+3))", "2048-4096 (3+((1+2)+0))"));
  EXPECT_THAT(all_written(over_nodes, elements_of(4096), 3),
              ElementsAre("0-2048 (0+(2+1))", "2048-4096 (1+(0+2))"));
  over_nodes.ranks_per_node = 2;
  EXPECT_THAT(all_written(over_nodes, elements_of(8), 4), ElementsAre("0-8 ((0+1)+(2+3))"));
}

TEST(FoldParts, RanksBeyondAPowerOfTwoAreAddedFirst) {
  EXPECT_THAT(all_written(ReductionOrder::kHalvingDoubling, elements_of(5), 5),
              ElementsAre("0-5 (((0+1)+2)+(3+4))"));
  EXPECT_THAT(all_written(ReductionOrder::kHalvingDoubling, elements_of(5), 4),
              ElementsAre("0-5 ((0+1)+(2+3))"));
}

TEST(FoldParts, RefuseWhatTheyCanNotDo) {
  EXPECT_THAT([] { fold_parts(ReductionOrder::kGloo, elements_of(1), 1025); },
              ThrowsMessage<UsageError>(HasSubstr("1024 ranks or less; this one has 1025")));
  ReductionAlgorithm nodes = ReductionOrder::kNcclTree;
  nodes.ranks_per_node = 4;
  EXPECT_THAT([&] { fold_parts(nodes, elements_of(1), 6); },
              ThrowsMessage<UsageError>(HasSubstr("nodes of 4 ranks, which a group of 6")));
}

TEST(ReductionAlgorithm, RefusesNumbersOutOfRange) {
  EXPECT_THAT([] { check_algorithm(with_channels(ReductionOrder::kNcclRing, 0)); },
              ThrowsMessage<UsageError>(HasSubstr("1 to 64 channels; got 0")));
  ReductionAlgorithm algorithm;
  algorithm.chunk_bytes = 8;
  EXPECT_THAT([&] { check_algorithm(algorithm); },
              ThrowsMessage<UsageError>(HasSubstr("16 bytes or more; got 8")));
  algorithm = {};
  algorithm.ranks_per_node = -1;
  EXPECT_THAT([&] { check_algorithm(algorithm); }, ThrowsMessage<UsageError>(HasSubstr("got -1")));
}

TEST(ReductionOrder, HasANameEach) {
  for (const char* name :
       {"rank", "tree", "gloo", "nccl_ring", "nccl_tree", "halving_doubling", "exact"}) {
    EXPECT_EQ(to_string(reduction_order_from_name(name)), name);
  }
  EXPECT_THAT(
      [] { reduction_order_from_name("ring"); },
      ThrowsMessage<UsageError>(HasSubstr(R"(no reduction order "ring"; there are "rank")")));
}

}  // namespace
}  // namespace polyrank
