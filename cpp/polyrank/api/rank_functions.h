// LocalTensors made and changed by a function of the rank.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace polyrank {

class LockstepMode;

// Code in the scope acts for one rank: factories make plain tensors.
// Throws: UsageError if there is no LockstepWorld.
class POLYRANK_API DisableLockstepGuard {
 public:
  DisableLockstepGuard();
  ~DisableLockstepGuard();
  DisableLockstepGuard(const DisableLockstepGuard&) = delete;
  DisableLockstepGuard& operator=(const DisableLockstepGuard&) = delete;

 private:
  LockstepMode& mode_;
  bool was_enabled_;
};

// A LocalTensor of `function(rank)` for each rank of the world, called in the order of ranks with
// the world switched off.
// Throws: UsageError if there is no LockstepWorld, and as make_local_tensor().
POLYRANK_API at::Tensor rank_map(const std::function<at::Tensor(std::int64_t)>& function);

// A LocalTensor of `function(rank, its tensor)` over the ranks for which that is not nothing. The
// function sees each rank's tensor read-only; if it returns that or a view of it, that is copied.
// Throws: as rank_map(), and UsageError if `tensor` is no LocalTensor.
POLYRANK_API at::Tensor tensor_map(
    const at::Tensor& tensor,
    const std::function<std::optional<at::Tensor>(std::int64_t, const at::Tensor&)>& function);

}  // namespace polyrank
