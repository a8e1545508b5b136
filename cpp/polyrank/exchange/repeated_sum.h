// Adding one value again and again, without doing so.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace polyrank {

// NOTE [Repeated sums]
// `total += value`, `count` times, rounding each time, takes a number of steps that grows with the
// logarithm of `count`. Floats of one sign and exponent are evenly spaced, a unit u apart; let the
// total be k units. A step that stays there gives k' = round(k + value / u). How that is rounded
// does not depend on k, except for ties, which go to the even k': so from the second step on all
// add the same whole number d of units (d even where they are ties, for k' is even after the
// first). So two steps are made, and the next ones, as many as stay within the exponent, in one go:
// in the bits of the number, where the unit is 1.
// - A step that ends at the lowest number of an exponent is made by itself: what is rounded may lie
//   below it, where floats are closer.
// - Where a step changes nothing, no later one does: infinities, NaN, values below half a unit.
// - Subnormal numbers have one spacing, and nothing is rounded.
// - bfloat16 and float16 are added in float32 and rounded twice: first to a fraction of u, of which
//   k units are an even number, so that this does not depend on k either.
// - Some thousand steps of float32 and float64 take less time one by one, many elements at once.

// Adds `value` to `total`, element by element, `count` times.
// Ensures: (1) each element is bit for bit what `count` calls of `total.add_(value)` give (the bits
//          of a NaN aside); integers wrap
//          (2) gives false, and does nothing, for dtypes and devices that it does not know
// Requires: both have one shape and dtype; `total` is contiguous
// Cost: of few steps as add_stepwise(), else a pass over the data for each power of two up to
//       `count`.
bool add_repeatedly(at::Tensor& total, const at::Tensor& value, std::int64_t count);

}  // namespace polyrank
