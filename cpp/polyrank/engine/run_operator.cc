#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/cohort_errors.h>
#include <polyrank/engine/operands.h>
#include <polyrank/engine/random_streams.h>
#include <polyrank/engine/results.h>
#include <polyrank/engine/run_operator.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <optional>
#include <span>
#include <utility>

namespace polyrank {

namespace {

using c10::DispatchKey;
using c10::DispatchKeySet;

std::atomic<std::uint64_t> cohort_calls{0};
std::atomic<std::uint64_t> rank_calls{0};

// Keys that ran already when the Python key is reached. Conjugate, negative and zero-tensor bits
// stay: a cohort's tensor may carry them though the wrapper was resolved.
const DispatchKeySet kAbovePython =
    (DispatchKeySet(DispatchKeySet::FULL) ^
     (DispatchKeySet(DispatchKeySet::FULL_AFTER, DispatchKey::Python) |
      DispatchKeySet(DispatchKey::Python)))
        .remove(DispatchKey::Conjugate)
        .remove(DispatchKey::Negative)
        .remove(DispatchKey::ZeroTensor);

const RankSet& ranks_of_call(const Operands& operands, const LockstepMode* mode) {
  if (operands.ranks() != nullptr) {
    return *operands.ranks();
  }
  if (mode == nullptr) {
    throw InternalError("an operator without LocalTensors reached the engine outside of a mode");
  }
  return mode->ranks();
}

// Splits what the operator is about to write, so that each cohort writes to memory of its own.
void split_written(const Operands& operands, const OperatorInfo& info,
                   const RankPartition& partition) {
  for (const LocalOperand& operand : operands.locals()) {
    if (operand.is_written) {
      operand.impl->local_storage().split(partition);
    }
    if (operand.is_written && info.changes_metadata) {
      operand.impl->own_cohort_tensors();
    }
  }
  if (operands.writes_plain() && !partition.is_uniform()) {
    throw DivergenceError(str_cat(
        "a plain tensor, which holds the same on all ranks, would be written with values that "
        "differ between ranks (cohorts ",
        partition.to_string(),
        "). Make it a LocalTensor first: create it inside the mode, or clone it with "
        "`polyrank.rank_map(lambda rank: tensor.clone())`."));
  }
}

// `split` gives fewer pieces on ranks with shorter tensors; those get empty pieces, as in PyTorch's
// simulator, so that the list has one length.
void pad_split(const c10::IValue& dim_argument, std::span<c10::IValue> lists) {
  std::size_t longest = 0;
  for (const c10::IValue& list : lists) {
    longest = std::max(longest, list.toListRef().size());
  }
  const std::int64_t dim = dim_argument.toInt();
  for (c10::IValue& list : lists) {
    std::vector<at::Tensor> pieces = list.toTensorVector();
    while (pieces.size() < longest) {
      pieces.push_back(pieces.back().narrow(dim, 0, 0));
    }
    list = pieces;
  }
}

// What the cohorts' calls returned: all of the first result, then all of the second, …
using Results = c10::SmallVector<c10::IValue, 4>;

// What calls of the operator on tensors like these arguments take.
CohortTimes* times_for(const OperatorInfo& info, const torch::jit::Stack& arguments) {
  std::uint64_t num_elements = 0;
  for (const c10::IValue& argument : arguments) {
    if (argument.isTensor() && argument.toTensor().defined()) {
      num_elements += static_cast<std::uint64_t>(argument.toTensor().numel());
    }
  }
  const auto size = static_cast<std::size_t>(std::bit_width(num_elements));
  return &info.cohort_times[std::min(size, info.cohort_times.size() - 1)];
}

Results call_cohorts(const c10::OperatorHandle& op, const OperatorInfo& info,
                     const Operands& operands, const RankPartition& partition,
                     RandomStreams* random) {
  const std::int32_t num_cohorts = partition.num_cohorts();
  const auto num_columns = static_cast<std::size_t>(num_cohorts);
  Results results(info.num_returns * num_columns);
  const BelowLockstepGuard below(operands.has_python_tensors());
  const CohortKeysGuard keys(below.runs_python());

  const auto call_one = [&](std::int32_t cohort, torch::jit::Stack* call) {
    call->clear();
    operands.fill(cohort, call);
    random->before_call(cohort, call);
    op.callBoxed(call);
    random->after_call(cohort);
    for (std::size_t i = 0; i < info.num_returns; ++i) {
      results[i * num_columns + static_cast<std::size_t>(cohort)] = std::move((*call)[i]);
    }
  };
  torch::jit::Stack call;
  call.reserve(std::max(info.num_arguments, info.num_returns));
  if (num_cohorts == 1 || below.runs_python()) {  // Python's errors may be the user's Ctrl-C
    for (std::int32_t cohort = 0; cohort < num_cohorts; ++cohort) {
      call_one(cohort, &call);
    }
    return results;
  }
  CohortErrors errors;
  if (random->uses_default_generator() || !may_use_cohort_threads()) {
    for (std::int32_t cohort = 0; cohort < num_cohorts; ++cohort) {
      errors.watch(cohort, [&] { call_one(cohort, &call); });
    }
  } else {
    operands.fill(0, &call);
    for_each_cohort(num_cohorts, times_for(info, call), [&](std::int32_t cohort) {
      torch::jit::Stack own;
      own.reserve(std::max(info.num_arguments, info.num_returns));
      errors.watch(cohort, [&] { call_one(cohort, &own); });
    });
  }
  errors.rethrow(op.operator_name().name, partition);
  return results;
}

// Brings the wrappers of written operands up to what the cohorts' calls left.
void finish_writes(const Operands& operands, const OperatorInfo& info,
                   const RankPartition& partition, ResultCombiner* combiner) {
  for (const LocalOperand& operand : operands.locals()) {
    if (!operand.is_written) {
      continue;
    }
    LocalTensorImpl* impl = operand.impl;
    if (impl->is_whole()) {
      impl->refresh_geometry();
      continue;
    }
    LocalStorage& storage = impl->local_storage();
    const bool merges = operand.may_merge && storage.partition() != partition;
    if (!merges && !info.changes_metadata) {
      continue;
    }
    const CohortTensors& own = impl->cohort_tensors();
    std::vector<at::Tensor> tensors;
    std::vector<c10::Storage> storages;
    bool is_moved = false;
    for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
      const std::int64_t rank = partition.lowest_rank(cohort);
      tensors.push_back(own.on_rank(rank));
      storages.push_back(tensors.back().storage());
      is_moved = is_moved || storages.back().unsafeGetStorageImpl() !=
                                 storage.storage_on_rank(rank).unsafeGetStorageImpl();
    }
    if (is_moved) {  // set_: the tensors lie on another storage now
      auto placement = combiner->place(std::move(tensors));
      impl->reset(std::move(placement.storage), placement.partition, std::move(placement.tensors));
    } else if (merges) {
      storage.replace(partition, std::move(storages));
      impl->reset(impl->local_storage_ptr(), partition, std::move(tensors));
    } else {
      impl->refresh_geometry();
    }
  }
}

}  // namespace

CohortKeysGuard::CohortKeysGuard(bool keep_python)
    : exclude_(keep_python ? kAbovePython : kAbovePython.add(DispatchKey::Python)) {}

CallCounts call_counts() noexcept {
  return {cohort_calls.load(std::memory_order_relaxed), rank_calls.load(std::memory_order_relaxed)};
}

void reset_call_counts() noexcept {
  cohort_calls.store(0, std::memory_order_relaxed);
  rank_calls.store(0, std::memory_order_relaxed);
}

void run_below(const c10::OperatorHandle& op, bool has_python_tensors, torch::jit::Stack* stack) {
  const BelowLockstepGuard below(has_python_tensors);
  const CohortKeysGuard keys(/*keep_python=*/true);
  if (below.runs_python()) {
    op.callBoxed(stack);
    return;
  }
  const c10::impl::ExcludeDispatchKeyGuard no_python(DispatchKey::Python);
  op.callBoxed(stack);
}

void run_operator(const c10::OperatorHandle& op, const OperatorInfo& info, LockstepMode* mode,
                  torch::jit::Stack* stack) {
  const auto arguments = torch::jit::last(*stack, info.num_arguments);
  Operands operands(info, arguments);
  RankPartition partition =
      operands.meet_all(RankPartition::uniform(ranks_of_call(operands, mode)));
  RandomStreams random(info, mode, operands, arguments, partition.ranks());
  if (random.is_active()) {
    partition = meet(partition, random.partition());
  }
  if (info.writes_anything) {
    split_written(operands, info, partition);
  }
  operands.bind(partition);

  random.begin(partition);
  const auto num_cohorts = static_cast<std::size_t>(partition.num_cohorts());
  Results results = call_cohorts(op, info, operands, partition, &random);
  random.finish(op, partition);
  cohort_calls.fetch_add(num_cohorts, std::memory_order_relaxed);
  rank_calls.fetch_add(static_cast<std::uint64_t>(partition.ranks().size()),
                       std::memory_order_relaxed);

  static const c10::OperatorName kSplit("aten::split", "Tensor");
  if (num_cohorts > 1 && op.operator_name() == kSplit) {
    pad_split(arguments[2], results);
  }
  ResultCombiner combiner(op, info, operands, partition);
  c10::SmallVector<c10::IValue, 4> combined;
  for (std::size_t i = 0; i < info.num_returns; ++i) {
    combined.push_back(
        combiner.combine(c10::ArrayRef<c10::IValue>(results).slice(i * num_cohorts, num_cohorts)));
  }
  if (info.writes_anything) {
    finish_writes(operands, info, partition, &combiner);
  }
  torch::jit::drop(*stack, info.num_arguments);
  for (auto& value : combined) {
    stack->push_back(std::move(value));
  }
}

}  // namespace polyrank
