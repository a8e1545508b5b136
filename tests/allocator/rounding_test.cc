#include <gtest/gtest.h>
#include <polyrank/allocator/rounding.h>

#include <algorithm>

namespace polyrank {
namespace {

AllocatorOptions with_divisions(std::int64_t divisions) {
  AllocatorOptions options;
  options.roundup_power2_divisions.fill(divisions);
  return options;
}

void check_rounded_size(std::int64_t bytes, std::int64_t divisions) {
  const std::int64_t size = rounded_size(bytes, with_divisions(divisions));
  EXPECT_EQ(size % kMinBlockSize, 0);  // (1)
  EXPECT_GE(size, kMinBlockSize);      // (1)
  EXPECT_GE(size, bytes);              // (2)
  EXPECT_GE(size,
            rounded_size(std::max<std::int64_t>(bytes - 1, 0), with_divisions(divisions)));  // (3)
  if (divisions <= 1 || bytes <= kMinBlockSize * divisions) {
    EXPECT_LT(size - std::max<std::int64_t>(bytes, 1), kMinBlockSize);  // (4)
  } else {
    EXPECT_LE(size - bytes, bytes / divisions);  // (5)
  }
}

TEST(Rounding, OfManySizesAndDivisions) {
  for (const std::int64_t divisions : {0, 1, 2, 4, 8, 16}) {
    for (std::int64_t bytes = 1; bytes < 70 * kMiB; bytes += 1 + bytes / 7) {
      for (const std::int64_t near : {bytes - 1, bytes, bytes + 1}) {
        check_rounded_size(std::max<std::int64_t>(near, 1), divisions);
      }
    }
  }
}

TEST(Rounding, DivisionsLieBetweenPowersOfTwo) {
  // 1200 MiB between 1024 and 2048 in four parts.
  EXPECT_EQ(rounded_size(1200 * kMiB, with_divisions(4)), 1280 * kMiB);
  EXPECT_EQ(rounded_size(1024 * kMiB, with_divisions(4)), 1024 * kMiB);
}

TEST(Rounding, EachIntervalHasItsDivisions) {
  AllocatorOptions options;
  options.roundup_power2_divisions[1] = 2;  // from 2 MiB on
  EXPECT_EQ(rounded_size(2 * kMiB + 1, options), 3 * kMiB);
  EXPECT_EQ(rounded_size(4 * kMiB + 1, options), 4 * kMiB + kMinBlockSize);
  EXPECT_EQ(rounded_size(kMiB + 1, options), kMiB + kMinBlockSize);
}

TEST(Rounding, SegmentsOfEachPool) {
  const AllocatorOptions options;
  for (std::int64_t size = kMinBlockSize; size < 50 * kMiB; size += 3 * kMinBlockSize) {
    const std::int64_t segment = segment_size(size, options);
    EXPECT_GE(segment, size);                         // (1)
    EXPECT_EQ(segment, size <= kMiB       ? 2 * kMiB  // (2)
                       : size < 10 * kMiB ? 20 * kMiB
                                          : rounded_up(size, 2 * kMiB));
  }
  AllocatorOptions larger;
  larger.large_segment_size = 64 * kMiB;
  EXPECT_EQ(segment_size(2 * kMiB, larger), 64 * kMiB);
}

}  // namespace
}  // namespace polyrank
