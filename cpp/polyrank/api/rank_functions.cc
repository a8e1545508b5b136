#include <polyrank/api/rank_functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/engine/lockstep_mode.h>

#include <utility>
#include <vector>

namespace polyrank {

namespace {

LockstepMode& mode_here() {
  LockstepMode* mode = current_modes().lockstep;
  if (mode == nullptr) {
    throw UsageError("this thread runs no ranks; make a LockstepWorld first.");
  }
  return *mode;
}

}  // namespace

DisableLockstepGuard::DisableLockstepGuard()
    : mode_(mode_here()), was_enabled_(mode_.is_enabled()) {
  mode_.set_enabled(false);
}

DisableLockstepGuard::~DisableLockstepGuard() { mode_.set_enabled(was_enabled_); }

at::Tensor rank_map(const std::function<at::Tensor(std::int64_t)>& function) {
  const LockstepMode& mode = mode_here();
  const DisableLockstepGuard disabled;
  std::vector<std::pair<std::int64_t, at::Tensor>> tensors;
  for (const std::int64_t rank : mode.ranks()) {
    tensors.emplace_back(rank, function(rank));
  }
  return make_local_tensor(tensors);
}

at::Tensor tensor_map(
    const at::Tensor& tensor,
    const std::function<std::optional<at::Tensor>(std::int64_t, const at::Tensor&)>& function) {
  const LockstepMode& mode = mode_here();
  const DisableLockstepGuard disabled;
  std::vector<std::pair<std::int64_t, at::Tensor>> tensors;
  for (const std::int64_t rank : ranks_of(tensor).intersect(mode.ranks())) {
    const at::Tensor own = on_rank(tensor, rank);
    if (const std::optional<at::Tensor> result = function(rank, own)) {
      tensors.emplace_back(rank, result->is_alias_of(own) ? result->clone() : *result);
    }
  }
  return make_local_tensor(tensors);
}

}  // namespace polyrank
