// Division that rounds up.
#pragma once

#include <cstdint>

namespace polyrank {

// Requires: value >= 0, by > 0
constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

// The least multiple of `to` that is no less. Requires: as above
constexpr std::int64_t round_up(std::int64_t value, std::int64_t to) {
  return ceil_div(value, to) * to;
}

}  // namespace polyrank
