// Sums that are rounded once.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>

namespace polyrank {

// The sum of the members, element by element, as exact arithmetic gives it, rounded to the nearest
// number of their dtype, ties to even. Complex numbers: each part. In the first one's shape.
// Requires: members is not empty; all have one floating or complex dtype, device and number of
//           elements, and hold values
// Ensures: (1) the order of the members does not matter, except that
//          (2) where float64's range ends on the way, it is what adding in order gives
// Throws: c10::NotImplementedError for other dtypes than float64, float32, float16, bfloat16 and
// the
//         complex ones of float64 and float32.
// Source: Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997, for sums as lists of
// floats.
at::Tensor exact_sum(c10::ArrayRef<at::Tensor> members);

}  // namespace polyrank
