#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/reads.h>

#include <vector>

namespace polyrank {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(Reads, StandInsGoByTheDtype) {
  EXPECT_FALSE(stand_in(at::kBool).toBool());
  EXPECT_EQ(stand_in(at::kLong).toLong(), 1);
  EXPECT_EQ(stand_in(at::kBFloat16).toDouble(), 1.0);
}

TEST(Reads, EachIsKeptOnceWithItsCount) {
  clear_reads(OnRead::kAssume);
  note_read("item()", "1.0");
  note_read("equal()", "False");
  note_read("item()", "1.0");
  const auto reads = data_reads();
  ASSERT_EQ(reads.size(), 2U);
  EXPECT_EQ(reads[0].operation, "item()");
  EXPECT_EQ(reads[0].count, 2);
  EXPECT_EQ(reads[1].assumed, "False");
  clear_reads(OnRead::kAssume);
  EXPECT_TRUE(data_reads().empty());
}

TEST(Reads, ALineThatReadsOftenIsToldOnce) {
  std::vector<DataRead> told;
  clear_reads(OnRead::kAssume, [&](const DataRead& read) { told.push_back(read); });
  for (std::int64_t i = 0; i < 2 * kReadsOfLoop; ++i) {
    note_read("item()", "1.0");
    if (i % 2 == 0) {
      note_read("equal()", "False");
    }
  }
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].operation, "item()");
  EXPECT_EQ(told[0].count, kReadsOfLoop);
  EXPECT_EQ(told[1].operation, "equal()");
  clear_reads(OnRead::kAssume);
}

TEST(Reads, CanBeRefused) {
  clear_reads(OnRead::kRefuse);
  EXPECT_THAT([] { note_read("item()", "1.0"); },
              ThrowsMessage<UnsupportedOpError>(HasSubstr("item() reads data")));
  clear_reads(OnRead::kAssume);
}

}  // namespace
}  // namespace polyrank
