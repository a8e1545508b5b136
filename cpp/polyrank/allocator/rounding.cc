#include <polyrank/allocator/rounding.h>

#include <algorithm>
#include <bit>

namespace polyrank {

namespace {

std::int64_t log2_floor(std::int64_t number) {
  return static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(number))) - 1;
}

std::int64_t divisions_at(std::int64_t bytes, const AllocatorOptions& options) {
  const std::int64_t interval = log2_floor(bytes) - log2_floor(kMiB);
  const auto last = static_cast<std::int64_t>(AllocatorOptions::kNumIntervals) - 1;
  return options.roundup_power2_divisions.at(
      static_cast<std::size_t>(std::clamp(interval, std::int64_t{0}, last)));
}

// `divisions` between two powers of two: up to the next of these sizes.
std::int64_t rounded_up_to_division(std::int64_t bytes, std::int64_t divisions) {
  const auto below = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(bytes)));
  const std::int64_t step = below >> log2_floor(divisions);
  return step == 0 ? below * 2 : rounded_up(bytes, step);
}

}  // namespace

std::int64_t rounded_size(std::int64_t bytes, const AllocatorOptions& options) {
  if (bytes < kMinBlockSize) {
    return kMinBlockSize;
  }
  const std::int64_t divisions = divisions_at(bytes, options);
  if (divisions > 1 && bytes > kMinBlockSize * divisions) {
    return rounded_up_to_division(bytes, divisions);
  }
  return rounded_up(bytes, kMinBlockSize);
}

std::int64_t segment_size(std::int64_t size, const AllocatorOptions& options) {
  if (is_small(size)) {
    return kSmallSegmentSize;
  }
  return size < kSmallestOwnSegment ? options.large_segment_size
                                    : rounded_up(size, kSegmentRounding);
}

}  // namespace polyrank
