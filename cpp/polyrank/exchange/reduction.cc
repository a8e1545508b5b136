#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/whole_tensor.h>
#include <polyrank/exchange/exact_sum.h>
#include <polyrank/exchange/reduction.h>
#include <polyrank/exchange/repeated_sum.h>
#include <polyrank/exchange/sparse_sum.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

bool is_sum(ReduceOp op) {
  return op == ReduceOp::kSum || op == ReduceOp::kAvg || op == ReduceOp::kPremulSum;
}

void check_applies(ReduceOp op, const at::Tensor& tensor) {
  const c10::ScalarType dtype = tensor.scalar_type();
  if (op == ReduceOp::kUnused) {
    throw UnsupportedOpError("the reduce op unused names no operation; use sum.");
  }
  if (is_bitwise(op) && !c10::isIntegralType(dtype, /*includeBool=*/true)) {
    throw CollectiveError(str_cat("the reduce op ", to_string(op),
                                  " works on the bits of integers and not on tensors of dtype ",
                                  c10::getDtypeNames(dtype).first,
                                  ". View them as integers first."));
  }
  if (c10::isComplexType(dtype) && !is_sum(op)) {
    throw CollectiveError(
        str_cat("the reduce op ", to_string(op),
                " does not apply to complex tensors, only sum, avg and premul_sum do."));
  }
  if (op == ReduceOp::kAvg && dtype == c10::kBool) {
    throw CollectiveError("the reduce op avg does not apply to bool tensors. Convert them first.");
  }
}

void accumulate(ReduceOp op, at::Tensor& total, const at::Tensor& member) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
    case ReduceOp::kPremulSum:
      total.add_(member);
      return;
    case ReduceOp::kProduct:
      total.mul_(member);
      return;
    case ReduceOp::kMin:
      at::minimum_out(total, total, member);
      return;
    case ReduceOp::kMax:
      at::maximum_out(total, total, member);
      return;
    case ReduceOp::kBand:
      total.bitwise_and_(member);
      return;
    case ReduceOp::kBor:
      total.bitwise_or_(member);
      return;
    case ReduceOp::kBxor:
      total.bitwise_xor_(member);
      return;
    case ReduceOp::kUnused:
      throw InternalError("a reduce op that was refused reached the fold");
  }
}

// Applies `step` to each element of `total` and `member`, `count` times in a row.
template <class T, class Step>
void repeat_elementwise(at::Tensor& total, const at::Tensor& member, std::int64_t count,
                        Step step) {
  T* totals = total.mutable_data_ptr<T>();
  const T* values = member.const_data_ptr<T>();
  constexpr std::int64_t kBlock = 64;  // enough independent chains to keep the vector units busy
  for (std::int64_t begin = 0; begin < total.numel(); begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, total.numel());
    for (std::int64_t n = 0; n < count; ++n) {
      for (std::int64_t i = begin; i < end; ++i) {
        totals[i] = step(totals[i], values[i]);
      }
    }
  }
}

// Fewer steps than this are faster one after the other, on several elements at once.
constexpr std::int64_t kManySteps = 256;

// `accumulate`, `count` times: for as many members in a row that hold the same tensor. A world of
// a million equal ranks takes a few passes over the memory instead of a million operator calls.
// Each step rounds as the operator's does, so the result is the same bit for bit.
void accumulate_repeatedly(ReduceOp op, at::Tensor& total, const at::Tensor& member,
                           std::int64_t count) {
  const c10::ScalarType dtype = total.scalar_type();
  if (count > 1 && is_sum(op) &&
      (count >= kManySteps || c10::isIntegralType(dtype, /*includeBool=*/false)) &&
      add_repeatedly(total, member, count)) {
    return;
  }
  const bool has_kernel = total.is_cpu() && !total.key_set().has(c10::DispatchKey::Python) &&
                          (dtype == c10::kFloat || dtype == c10::kDouble);
  if (count == 1 || !has_kernel || (!is_sum(op) && op != ReduceOp::kProduct)) {
    for (std::int64_t n = 0; n < count; ++n) {
      accumulate(op, total, member);
    }
    return;
  }
  const at::Tensor values = member.contiguous();
  AT_DISPATCH_FLOATING_TYPES(dtype, "polyrank::accumulate_repeatedly", [&] {
    if (is_sum(op)) {
      repeat_elementwise<scalar_t>(total, values, count,
                                   [](scalar_t a, scalar_t b) { return a + b; });
    } else {
      repeat_elementwise<scalar_t>(total, values, count,
                                   [](scalar_t a, scalar_t b) { return a * b; });
    }
  });
}

at::Tensor reshaped_like(const at::Tensor& member, const at::Tensor& total) {
  return member.sizes() == total.sizes() ? member : member.reshape(total.sizes());
}

at::Tensor fold_in_rank_order(ReduceOp op, const MemberTensors& members) {
  at::Tensor total = own_copy(members.front());
  std::unordered_set<const c10::TensorImpl*> folded{members.front().unsafeGetTensorImpl()};
  std::size_t num_folded = 1;  // members
  for (const auto& [tensor, end] : members.runs()) {
    const auto count = static_cast<std::int64_t>(end - std::exchange(num_folded, end));
    if (count > 0 && !is_idempotent(op)) {
      accumulate_repeatedly(op, total, reshaped_like(tensor, total), count);
    } else if (folded.insert(tensor.unsafeGetTensorImpl()).second) {
      accumulate(op, total, reshaped_like(tensor, total));
    }
  }
  return total;
}

at::Tensor fold_as_tree(ReduceOp op, std::vector<at::Tensor> level) {
  if (level.size() == 1) {
    return own_copy(level.front());
  }
  using Pair = std::pair<const c10::TensorImpl*, const c10::TensorImpl*>;
  while (level.size() > 1) {
    std::map<Pair, at::Tensor> known;  // equal pairs, of which equal ranks make many
    std::vector<at::Tensor> next;
    for (std::size_t i = 0; i + 1 < level.size(); i += 2) {
      at::Tensor& sum = known[{level[i].unsafeGetTensorImpl(), level[i + 1].unsafeGetTensorImpl()}];
      if (!sum.defined()) {
        sum = own_copy(level[i]);
        accumulate(op, sum, reshaped_like(level[i + 1], sum));
      }
      next.push_back(sum);
    }
    if (level.size() % 2 == 1) {
      next.push_back(level.back());
    }
    level = std::move(next);
  }
  return level.front();  // each sum has the shape of its first member
}

// Whether the order changes the result. Bits and whole numbers are the same in any, and so is what
// is least or largest, except with NaN: see the note below.
bool depends_on_order(ReduceOp op, c10::ScalarType dtype) {
  return (is_sum(op) || op == ReduceOp::kProduct) &&
         (c10::isFloatingType(dtype) || c10::isComplexType(dtype));
}

// Puts the fold of two members in the place of the first.
using FoldPair = void (*)(ReduceOp op, at::Tensor& into, const at::Tensor& from);

at::Tensor fold_steps(ReduceOp op, c10::ArrayRef<at::Tensor> members, const FoldPart& part,
                      FoldPair fold_pair) {
  const auto piece = [&](std::int64_t member) {
    return members[static_cast<std::size_t>(member)].narrow(0, part.begin, part.end - part.begin);
  };
  std::vector<at::Tensor> sums(members.size());
  for (const FoldStep& step : part.steps) {
    at::Tensor& into = sums[static_cast<std::size_t>(step.into)];
    if (!into.defined()) {
      into = own_copy(piece(step.into));
    }
    at::Tensor& from = sums[static_cast<std::size_t>(step.from)];
    fold_pair(op, into, from.defined() ? from : piece(step.from));
    from.reset();
  }
  const at::Tensor& sum = sums[static_cast<std::size_t>(part.result)];
  return sum.defined() ? sum : piece(part.result);  // of one member
}

at::Tensor fold_in_parts(ReduceOp op, c10::ArrayRef<at::Tensor> members,
                         const ReductionAlgorithm& algorithm, const ReducedElements& place,
                         FoldPair fold_pair = &accumulate) {
  std::vector<at::Tensor> flat;
  flat.reserve(members.size());
  for (const at::Tensor& member : members) {
    flat.push_back(member.reshape({-1}));
  }
  at::Tensor total = own_copy(members.front());
  const at::Tensor elements = total.view({-1});
  for (const FoldPart& part :
       fold_parts(algorithm, place, static_cast<std::int64_t>(members.size()))) {
    elements.narrow(0, part.begin, part.end - part.begin)
        .copy_(fold_steps(op, flat, part, fold_pair));
  }
  return total;
}

bool is_extremum(ReduceOp op) { return op == ReduceOp::kMin || op == ReduceOp::kMax; }

bool is_of_nccl(ReductionOrder order) {
  return order == ReductionOrder::kNcclRing || order == ReductionOrder::kNcclTree;
}

// What comes to a member takes the place of its own if it is beyond that, which a NaN never is.
// Source: gloo::min and gloo::max, gloo/math.h.
void fold_as_gloo_compares(ReduceOp op, at::Tensor& coming, const at::Tensor& own) {
  const at::Tensor is_beyond = op == ReduceOp::kMax ? at::lt(own, coming) : at::lt(coming, own);
  coming = at::where(is_beyond, coming, own);
}

// Source: Apply_Reduce<FuncMinMax<float>>, nccl/src/device/reduce_kernel.h.
at::Tensor fold_without_nans(ReduceOp op, const MemberTensors& members) {
  at::Tensor total = own_copy(members.front());
  for (const auto& [tensor, end] : members.runs()) {
    const at::Tensor member = reshaped_like(tensor, total);
    op == ReduceOp::kMax ? at::fmax_out(total, total, member) : at::fmin_out(total, total, member);
  }
  return total;
}

// NOTE [Least and largest of NaN]
// Without NaN the order is all one. With one, NCCL takes the numbers, and gloo keeps or loses the
// NaN by its order; no order of ours would be either's. So members with a NaN are folded in gloo's
// order, unless the order is NCCL's.
at::Tensor fold_extremum(ReduceOp op, const MemberTensors& members, ReductionOrder order,
                         const ReducedElements& place) {
  at::Tensor total = fold_in_rank_order(op, members);  // NaN where a member is
  if (!at::isnan(total).any().item<bool>()) {
    return total;
  }
  if (is_of_nccl(order)) {
    return fold_without_nans(op, members);
  }
  const std::vector<at::Tensor> by_member = members.by_member();
  if (std::ssize(by_member) > kMostOrderedMembers) {
    throw UnsupportedOpError(str_cat(
        "the reduce op ", to_string(op), " of tensors that hold NaN, on ", by_member.size(),
        " ranks: what gloo gives depends on its order, which is known for ", kMostOrderedMembers,
        " ranks at most. Take the NaNs out first (torch.nan_to_num), or "
        "say polyrank.reduction_order(\"nccl_ring\")."));
  }
  return fold_in_parts(op, by_member, ReductionOrder::kGloo, place, &fold_as_gloo_compares);
}

// The members divided by their number, as NCCL averages floats: each is multiplied by the
// reciprocal in its dtype, and then they are added.
MemberTensors divided(const MemberTensors& members) {
  const at::Tensor factor = at::scalar_tensor(1.0 / static_cast<double>(members.size()),
                                              members.front().options().device(at::kCPU));
  std::map<const c10::TensorImpl*, at::Tensor> known;
  MemberTensors result;
  for (const auto& [tensor, end] : members.runs()) {
    at::Tensor& scaled = known[tensor.unsafeGetTensorImpl()];
    if (!scaled.defined()) {
      scaled = at::mul(tensor, factor);
    }
    result.append(scaled, end - result.size());
  }
  return result;
}

at::Tensor fold_in_order(ReduceOp op, const MemberTensors& members,
                         const ReductionAlgorithm& algorithm, const ReducedElements& place) {
  if (is_extremum(op) && c10::isFloatingType(members.front().scalar_type()) &&
      holds_values(members.front())) {
    return fold_extremum(op, members, algorithm.order, place);
  }
  if (!depends_on_order(op, members.front().scalar_type()) || !holds_values(members.front())) {
    return fold_in_rank_order(op, members);
  }
  switch (algorithm.order) {
    case ReductionOrder::kRank:
      return fold_in_rank_order(op, members);
    case ReductionOrder::kTree:
      return fold_as_tree(op, members.by_member());
    case ReductionOrder::kExact:
      return is_sum(op) ? exact_sum(members.by_member()) : fold_in_rank_order(op, members);
    case ReductionOrder::kGloo:
    case ReductionOrder::kNcclRing:
    case ReductionOrder::kNcclTree:
    case ReductionOrder::kHalvingDoubling:
      return fold_in_parts(op, members.by_member(), algorithm, place);
  }
  throw InternalError("there is no such reduction order");
}

bool divides_first(ReduceOp op, c10::ScalarType dtype, ReductionOrder order) {
  return op == ReduceOp::kAvg && c10::isFloatingType(dtype) && is_of_nccl(order);
}

// Never null. Shared, so that a reduction that runs keeps what it began with.
std::atomic<std::shared_ptr<const ReductionAlgorithm>>& algorithm_of_process() {
  static std::atomic<std::shared_ptr<const ReductionAlgorithm>> algorithm =
      std::make_shared<const ReductionAlgorithm>();
  return algorithm;
}

std::shared_ptr<const ReductionAlgorithm> checked(const ReductionAlgorithm& algorithm) {
  check_algorithm(algorithm);
  return std::make_shared<const ReductionAlgorithm>(algorithm);
}

}  // namespace

ReductionAlgorithm reduction_order() { return *algorithm_of_process().load(); }

void set_reduction_order(const ReductionAlgorithm& algorithm) {
  algorithm_of_process() = checked(algorithm);
}

ReductionOrderGuard::ReductionOrderGuard(const ReductionAlgorithm& algorithm)
    : before_(algorithm_of_process().exchange(checked(algorithm))) {}

ReductionOrderGuard::~ReductionOrderGuard() { algorithm_of_process() = std::move(before_); }

bool holds_values(const at::Tensor& tensor) {
  return !tensor.is_meta() && !tensor.key_set().has(c10::DispatchKey::Python);
}

at::Tensor fold_members(ReduceOp op, c10::ArrayRef<at::Tensor> members,
                        const std::optional<ReducedElements>& place) {
  return fold_members(op, MemberTensors(members), place);
}

at::Tensor fold_members(ReduceOp op, const MemberTensors& members,
                        const std::optional<ReducedElements>& place) {
  const at::Tensor& first = members.front();
  const c10::ScalarType dtype = first.scalar_type();
  check_applies(op, first);
  if (first.is_sparse() && op == ReduceOp::kSum && holds_values(first)) {
    return sum_of_sparse(members);
  }
  const ReductionAlgorithm algorithm = reduction_order();
  MemberTensors shapes;  // of tensors without values, which differ by nothing else
  if (!holds_values(first)) {
    shapes.append(first, std::min<std::size_t>(members.size(), 2));
  }
  const MemberTensors& needed = holds_values(first) ? members : shapes;
  const ReducedElements whole = {
      .element_size = first.element_size(), .total = first.numel(), .length = first.numel()};
  const bool is_divided = divides_first(op, dtype, algorithm.order) && holds_values(first);
  at::Tensor total;
  try {
    total = is_divided ? fold_in_order(op, divided(members), algorithm, place.value_or(whole))
                       : fold_in_order(op, needed, algorithm, place.value_or(whole));
  } catch (const c10::NotImplementedError&) {
    throw UnsupportedOpError(str_cat("PyTorch can't reduce tensors of dtype ",
                                     c10::getDtypeNames(dtype).first, " by ", to_string(op),
                                     ": it has no kernel for that. Convert them first, as to "
                                     "bfloat16 or int32."));
  }
  if (op == ReduceOp::kAvg && !is_divided) {
    const auto num_members = static_cast<std::int64_t>(members.size());
    if (c10::isIntegralType(dtype, /*includeBool=*/false)) {
      total.div_(num_members, "trunc");
    } else {
      total.div_(num_members);
    }
  }
  return total;
}

at::Tensor fold_equal_members(ReduceOp op, const at::Tensor& member, std::int64_t num_members) {
  if (num_members <= 0) {
    throw UsageError(str_cat("a reduction needs 1 or more members; got ", num_members, "."));
  }
  check_applies(op, member);
  const bool is_bool = member.scalar_type() == c10::kBool;  // adds as "or", multiplies as "and"
  const bool is_plain_sum = op == ReduceOp::kSum || op == ReduceOp::kPremulSum;
  if (is_plain_sum && !is_bool) {
    return at::mul(member, num_members);
  }
  if (op == ReduceOp::kProduct && !is_bool) {
    return at::pow(member, num_members);
  }
  if (op == ReduceOp::kBxor && num_members % 2 == 0) {
    return at::zeros_like(member);
  }
  return member.clone();
}

}  // namespace polyrank
