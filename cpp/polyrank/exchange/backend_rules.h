// Which tensors the real backends take: gloo on the CPU, NCCL on GPUs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <polyrank/collective/collective_table.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <string_view>

namespace polyrank {

// How a tensor's elements must lie in memory.
enum class MemoryOrder : std::uint8_t {
  kAny,
  // Without gaps, and in the same order on all members: the backend reads and writes the memory
  // from first to last.
  kDense,
  kContiguous  // in the order of the dimensions, or of channels_last
};

enum class ArgumentRole : std::uint8_t { kInput, kOutput };

// NOTE [Memory that backends take]
// gloo checks little: it reads `numel()` elements from the tensor's first on. Measured on processes
// of gloo (tests/python/collectives/test_backend_rules.py does it again), a tensor with gaps or
// with dimensions in another order comes out right, is refused, or gives wrong values without a
// word, by collective. Where it comes out right it is taken here as well; all else is refused.
// NCCL's process group refuses what is not contiguous, except in lists that it copies through a
// buffer.
POLYRANK_API MemoryOrder needed_memory_order(const CollectiveSpec& spec, ArgumentRole role,
                                             c10::DeviceType device) noexcept;

// Whether `tensor` lies in memory as that says, as far as one rank can tell.
POLYRANK_API bool has_memory_order(const at::Tensor& tensor, MemoryOrder order);

// Whether gloo copies what comes into the outputs, by which autograd learns that they were written.
// Elsewhere it writes their memory behind autograd's back, as NCCL does.
POLYRANK_API bool writes_by_copy(const CollectiveSpec& spec) noexcept;

// Whether a backend takes the dtype. On the CPU also what NCCL alone takes, since programs for
// GPUs run there too; messages are bytes to gloo, of any dtype.
POLYRANK_API bool takes_dtype(CollectiveKind kind, c10::ScalarType dtype,
                              c10::DeviceType device) noexcept;

// "gloo", "NCCL": whose rules hold for tensors of that device.
POLYRANK_API std::string_view backend_of(c10::DeviceType device) noexcept;

}  // namespace polyrank
