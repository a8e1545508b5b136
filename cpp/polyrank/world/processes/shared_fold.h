// A reduction of large tensors, by all members of a group together.
#pragma once

#include <polyrank/collective/reduction_order.h>
#include <polyrank/world/processes/shared_call.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace polyrank {

// The tensors are cut into pieces. Each is folded by whoever takes it next: the last to come, and
// the others while they wait. The fold of an element does not depend on the elements beside it,
// only on its place, so the values are those of fold_members() of the whole.
//
// Thread rule: help() by any thread of any rank.
class SharedFold {
 public:
  static constexpr std::int64_t kMinBytes = std::int64_t{1} << 18;
  static constexpr std::int64_t kPieceBytes = std::int64_t{1} << 17;

  // Of the members' calls, in the order of the group; null unless they are a reduction of one
  // tensor each of kMinBytes or more. The result lies where the first member's values are.
  // Requires: the launches agree; the board memory is shared
  // Throws: as fold_members().
  static std::shared_ptr<SharedFold> of(const BoardList<SharedCall*>& calls);

  const std::byte* values() const noexcept { return members_.front(); }
  std::size_t num_bytes() const noexcept;

  // Folds pieces until none is left to take.
  void help();
  // Until all are folded. `check` is called meanwhile: somebody may have died with a piece.
  void await(const std::function<void()>& check) const;

 private:
  void fold_piece(std::int64_t piece);

  ReduceOp reduce_op_ = ReduceOp::kSum;
  c10::ScalarType dtype_ = c10::ScalarType::Float;
  ReducedElements whole_ = {};
  std::int64_t numel_ = 0;
  std::int64_t piece_numel_ = 0;
  std::int64_t num_pieces_ = 0;
  BoardList<std::byte*> members_ = {};
  std::atomic<std::int64_t> next_ = 0;
  std::atomic<std::int64_t> num_folded_ = 0;
};

}  // namespace polyrank
