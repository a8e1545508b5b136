#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_storage.h>

#include <array>
#include <string>
#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int64_t kNumRanks = 6;
const RankSet kRanks = RankSet::first(kNumRanks);

using Labels = std::array<std::int64_t, kNumRanks>;

RankPartition labelled(const Labels& labels) { return RankPartition::from_labels(kRanks, labels); }

// Four bytes, all `value`.
c10::Storage bytes(std::uint8_t value) { return at::full({4}, value, at::kByte).storage(); }

std::uint8_t first_byte(const c10::Storage& storage) {
  return *static_cast<const std::uint8_t*>(storage.data());
}

// Cohort c holds bytes of c + 1.
c10::intrusive_ptr<LocalStorage> numbered(const RankPartition& partition) {
  std::vector<c10::Storage> storages;
  storages.reserve(static_cast<std::size_t>(partition.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    storages.push_back(bytes(static_cast<std::uint8_t>(cohort + 1)));
  }
  return LocalStorage::make(partition, std::move(storages));
}

std::vector<Labels> some_labels() {
  return {{0, 0, 0, 0, 0, 0}, {0, 0, 0, 1, 1, 1}, {0, 1, 0, 1, 0, 1}, {0, 1, 2, 2, 1, 0},
          {0, 1, 1, 1, 1, 0}, {0, 1, 2, 3, 4, 5}, {0, 0, 1, 1, 2, 2}};
}

// The laws of a split of `before` by `by`; see NOTE [Splitting storages] and the invariants.
void check_split(const RankPartition& before, const RankPartition& by) {
  const auto storage = numbered(before);
  std::vector<std::uint8_t> held;
  held.reserve(kNumRanks);
  for (std::int64_t rank = 0; rank < kNumRanks; ++rank) {
    held.push_back(first_byte(storage->storage_on_rank(rank)));
  }
  std::vector<const void*> memory;
  memory.reserve(static_cast<std::size_t>(before.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < before.num_cohorts(); ++cohort) {
    memory.push_back(storage->storage(cohort).data());
  }
  const std::uint64_t generation = storage->generation();
  storage->split(by);

  EXPECT_EQ(storage->partition(), meet(before, by));
  EXPECT_EQ(storage->generation() != generation, storage->partition() != before);  // (2)
  std::vector<bool> is_kept(memory.size(), false);
  for (std::int32_t cohort = 0; cohort < storage->partition().num_cohorts(); ++cohort) {
    const std::int64_t lowest = storage->partition().lowest_rank(cohort);
    const auto old = static_cast<std::size_t>(before.cohort_of(lowest));
    // Of the ranks of an old cohort, those with the lowest keep its memory, others get copies.
    EXPECT_EQ(storage->storage(cohort).data() == memory[old], !is_kept[old]);
    is_kept[old] = true;
  }
  for (std::int64_t rank = 0; rank < kNumRanks; ++rank) {  // nobody's bytes change
    EXPECT_EQ(first_byte(storage->storage_on_rank(rank)), held[static_cast<std::size_t>(rank)]);
  }
}

TEST(LocalStorage, SplitsByEachPartition) {
  for (const Labels& before : some_labels()) {
    for (const Labels& by : some_labels()) {
      SCOPED_TRACE(labelled(before).to_string() + " by " + labelled(by).to_string());
      check_split(labelled(before), labelled(by));
    }
  }
}

TEST(LocalStorage, IsAStorageWithoutADataPointer) {
  const auto storage = numbered(labelled({0, 0, 0, 1, 1, 1}));
  const c10::Storage shared{c10::intrusive_ptr<c10::StorageImpl>(storage)};
  EXPECT_EQ(LocalStorage::from(shared), storage.get());
  EXPECT_EQ(LocalStorage::from(bytes(1)), nullptr);
  EXPECT_EQ(storage->nbytes(), 4U);
  EXPECT_THAT([&] { static_cast<void>(shared.data()); },
              ThrowsMessage<c10::Error>(HasSubstr("no single data pointer")));
  EXPECT_THROW(LocalStorage::make(labelled({0, 1, 2, 3, 4, 5}), {bytes(1)}), InternalError);
}

TEST(LocalStorage, PinnedRanksStayCohortsOfTheirOwn) {
  const auto storage = numbered(RankPartition::uniform(kRanks));
  EXPECT_TRUE(storage->can_replace());
  storage->pin(RankSet::range(2, 4));
  EXPECT_EQ(storage->partition(), labelled({0, 0, 2, 3, 0, 0}));  // (3)
  EXPECT_FALSE(storage->can_replace());
  const void* const outside = storage->storage_on_rank(3).data();
  storage->split(RankPartition::identity(kRanks));
  EXPECT_EQ(storage->storage_on_rank(3).data(), outside);
  const std::uint64_t generation = storage->generation();
  storage->pin(RankSet::range(2, 3));  // which it is
  EXPECT_EQ(storage->generation(), generation);
}

TEST(LocalStorage, ABorrowedOneIsNotSplit) {
  const auto storage = numbered(RankPartition::uniform(kRanks));
  storage->set_borrowed();
  storage->split(RankPartition::uniform(kRanks));  // (4): there is nothing to split
  EXPECT_THAT([&] { storage->split(labelled({0, 0, 0, 1, 1, 1})); },
              ThrowsMessage<DivergenceError>(HasSubstr("plain tensor")));
  EXPECT_FALSE(storage->can_replace());
}

TEST(LocalStorage, ALentOneIsSplitWhenAllLoansHaveEnded) {
  const auto storage = numbered(RankPartition::uniform(kRanks));
  storage->begin_loan();
  storage->begin_loan();
  storage->end_loan();
  EXPECT_THAT([&] { storage->split(labelled({0, 1, 0, 1, 0, 1})); },
              ThrowsMessage<DivergenceError>(HasSubstr("a numpy array shares")));  // (5)
  EXPECT_THROW(storage->pin(RankSet::range(1, 2)), DivergenceError);
  EXPECT_FALSE(storage->can_replace());
  EXPECT_TRUE(storage->partition().is_uniform());
  storage->end_loan();
  EXPECT_TRUE(storage->can_replace());
  storage->split(labelled({0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(storage->partition().num_cohorts(), 2);
}

TEST(LocalStorage, OneOfTensorsKeptWholeIsNotSplit) {
  const auto storage = numbered(RankPartition::uniform(kRanks));
  storage->set_whole();
  EXPECT_THAT([&] { storage->split(RankPartition::identity(kRanks)); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("sparse")));
}

TEST(LocalStorage, WithoutDataRanksCannotDiffer) {
  const auto storage = LocalStorage::make(RankPartition::uniform(kRanks),
                                          {at::empty({4}, at::device(at::kMeta)).storage()});
  EXPECT_FALSE(storage->has_data());
  storage->split(RankPartition::identity(kRanks));
  EXPECT_TRUE(storage->partition().is_uniform());
}

TEST(LocalStorage, KeepsItsBytesWhenItGrowsAndIsOneCohortWhenFreed) {
  const RankPartition halves = labelled({0, 0, 0, 1, 1, 1});
  const auto storage = numbered(halves);
  storage->resize(8);
  EXPECT_EQ(storage->partition(), halves);
  EXPECT_EQ(storage->nbytes(), 8U);
  EXPECT_EQ(first_byte(storage->storage_on_rank(5)), 2);
  storage->resize(0);
  EXPECT_TRUE(storage->partition().is_uniform());
  EXPECT_EQ(storage->nbytes(), 0U);
  storage->resize(4);
  EXPECT_TRUE(storage->partition().is_uniform());
  EXPECT_EQ(storage->storage(0).nbytes(), 4U);
}

TEST(LocalStorage, ReplacesAllOfIt) {
  const auto storage = numbered(RankPartition::identity(kRanks));
  const std::uint64_t generation = storage->generation();
  storage->replace(RankPartition::uniform(kRanks), {bytes(9)});
  EXPECT_NE(storage->generation(), generation);
  for (std::int64_t rank = 0; rank < kNumRanks; ++rank) {
    EXPECT_EQ(first_byte(storage->storage_on_rank(rank)), 9);
  }
}

}  // namespace
}  // namespace polyrank
