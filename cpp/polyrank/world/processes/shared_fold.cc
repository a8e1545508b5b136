#include <ATen/Functions.h>
#include <ATen/ops/from_blob.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/world/meeting_exchange.h>
#include <polyrank/world/processes/shared_fold.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace polyrank {

namespace {

std::int64_t numel_of(const SharedTensor& tensor) { return c10::multiply_integers(tensor.sizes); }

// Whether the calls reduce one tensor each, to one tensor each that is as large or a member's
// share.
bool is_plain_reduction(const BoardList<SharedCall*>& calls) {
  const auto num_members = static_cast<std::int64_t>(calls.size());
  return std::ranges::all_of(calls, [&](const SharedCall* call) {
    if (!is_reduction(call->spec->kind) || call->units.size() != 1 ||
        call->units.front().inputs.size() != 1 || call->units.front().outputs.size() != 1) {
      return false;
    }
    const SharedTensor& input = call->units.front().inputs.front();
    const SharedTensor& output = call->units.front().outputs.front();
    const std::int64_t share = call->spec->kind == CollectiveKind::kReduceScatter ? num_members : 1;
    return input.own != nullptr && input.dtype == output.dtype &&
           numel_of(input) == numel_of(calls.front()->units.front().inputs.front()) &&
           numel_of(input) == numel_of(output) * share;
  });
}

// PyTorch divides complex numbers otherwise where they do not fill a vector.
bool depends_on_its_place(ReduceOp op, c10::ScalarType dtype) {
  return op == ReduceOp::kAvg && c10::isComplexType(dtype);
}

}  // namespace

std::shared_ptr<SharedFold> SharedFold::of(const BoardList<SharedCall*>& calls) {
  if (!is_plain_reduction(calls)) {
    return nullptr;
  }
  const SharedCall& first = *calls.front();
  const SharedTensor& input = first.units.front().inputs.front();
  const auto element_size = static_cast<std::int64_t>(c10::elementSize(input.dtype));
  const std::int64_t numel = numel_of(input);
  if (numel * element_size < kMinBytes || depends_on_its_place(first.reduce_op, input.dtype)) {
    return nullptr;
  }
  auto fold = make_board_shared<SharedFold>();
  fold->reduce_op_ = first.reduce_op;
  fold->dtype_ = input.dtype;
  fold->whole_ = {
      .kind = first.spec->kind, .root = first.root, .element_size = element_size, .total = numel};
  fold->numel_ = numel;
  fold->piece_numel_ = kPieceBytes / element_size;
  fold->num_pieces_ = (numel + fold->piece_numel_ - 1) / fold->piece_numel_;
  for (SharedCall* const call : calls) {
    fold->members_.push_back(call->units.front().inputs.front().own.get());
  }
  fold->next_ = 1;
  fold->fold_piece(0);  // what it can't do it says here
  return fold;
}

std::size_t SharedFold::num_bytes() const noexcept {
  return static_cast<std::size_t>(numel_) * c10::elementSize(dtype_);
}

void SharedFold::fold_piece(std::int64_t piece) {
  const std::int64_t begin = piece * piece_numel_;
  const std::int64_t length = std::min(piece_numel_, numel_ - begin);
  const auto offset = static_cast<std::size_t>(begin) * c10::elementSize(dtype_);
  std::vector<at::Tensor> pieces;
  pieces.reserve(members_.size());
  for (std::byte* const member : members_) {
    pieces.push_back(at::from_blob(member + offset, {length}, at::TensorOptions(dtype_)));
  }
  ReducedElements place = whole_;
  place.begin = begin;
  place.length = length;
  pieces.front().copy_(fold_members(reduce_op_, pieces, place));
  ++num_folded_;
}

void SharedFold::help() {
  const BelowAutogradGuard below_autograd;
  for (std::int64_t piece = next_++; piece < num_pieces_; piece = next_++) {
    fold_piece(piece);
  }
}

void SharedFold::await(const std::function<void()>& check) const {
  while (num_folded_ < num_pieces_) {
    check();
    sched_yield();
  }
}

}  // namespace polyrank
