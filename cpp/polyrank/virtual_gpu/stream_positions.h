// Places in a stream of random numbers.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>

#include <cstdint>

namespace polyrank {

// The state of a CPU generator, which a virtual GPU's also is, after it has drawn `numbers` more of
// 32 bits. What an operator has drawn in advance (the second of two normals) is gone.
// It is also the operator `polyrank::_rng_state_after`, which ranks in lockstep may call with
// states and numbers that differ. Shapes: a state as `torch.get_rng_state()` gives it, uint8; the
// result is alike. Throws: UsageError if `numbers` is negative. Cost: O(numbers), some nanoseconds
// each.
POLYRANK_API at::Tensor rng_state_after(const at::Tensor& state, std::int64_t numbers);

}  // namespace polyrank
