// Adding one value again and again, many elements at a time.
#pragma once

#include <cstdint>

namespace polyrank {

// `totals[i] += values[i]`, `count` times, rounding each time. Totals stay in registers from the
// first step to the last.
// Cost: numel * count additions; a processor with AVX-512 makes 16 to 32 of float32 in a cycle.
// Requires: both have `numel` elements and do not overlap
void add_stepwise(float* totals, const float* values, std::int64_t numel, std::int64_t count);
void add_stepwise(double* totals, const double* values, std::int64_t numel, std::int64_t count);

}  // namespace polyrank
