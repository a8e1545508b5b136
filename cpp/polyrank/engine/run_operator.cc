#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/operands.h>
#include <polyrank/engine/results.h>
#include <polyrank/engine/run_operator.h>

#include <atomic>
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

// The device whose random stream an operator draws from.
c10::Device random_device(const Operands& operands, c10::ArrayRef<c10::IValue> arguments) {
  if (!operands.locals().empty()) {
    return operands.locals().front().impl->device();
  }
  if (!operands.plain().empty()) {
    return operands.plain().front().device();
  }
  for (const c10::IValue& argument : arguments) {
    if (argument.isDevice()) {
      return argument.toDevice();
    }
  }
  return c10::kCPU;
}

// The random streams that one call draws from; does nothing for operators that draw nothing.
class RandomStreams {
 public:
  RandomStreams(const OperatorInfo& info, LockstepMode* mode, const Operands& operands,
                c10::ArrayRef<c10::IValue> arguments, const RankSet& ranks) {
    if (!info.is_random) {
      return;
    }
    c10::Device device = random_device(operands, arguments);
    if (device.is_meta()) {
      return;  // no values, no draws
    }
    if (device.has_index() == false && !device.is_cpu()) {
      device = at::globalContext().defaultGenerator(device).device();
    }
    default_ = at::globalContext().defaultGenerator(device);
    if (info.generator_argument >= 0) {
      argument_ = static_cast<std::size_t>(info.generator_argument);
      const c10::IValue& given = arguments[*argument_];
      if (!given.isNone() && given.toGenerator() != default_) {
        given_ = given.toGenerator();
      }
    }
    if (mode != nullptr && !given_.defined() && mode->ranks() == ranks) {
      streams_ = &mode->generators(device);
    } else {  // a generator of the program's own, or no mode: the same state on all ranks
      own_.emplace(ranks, given_.defined() ? given_ : default_);
      streams_ = &*own_;
    }
  }

  bool is_active() const noexcept { return streams_ != nullptr; }
  const RankPartition& partition() const { return streams_->partition(); }

  void begin(const RankPartition& partition) {
    if (is_active()) {
      drawn_ = streams_->draw(partition);
      if (!argument_) {
        saved_ = default_.clone();
      }
    }
  }

  void before_call(std::int32_t cohort, torch::jit::Stack* stack) {
    if (!is_active()) {
      return;
    }
    at::Generator& generator = drawn_[static_cast<std::size_t>(cohort)];
    if (argument_) {
      (*stack)[*argument_] = generator;
    } else {
      copy_generator_state(generator, default_);
    }
  }

  void after_call(std::int32_t cohort) {
    if (is_active() && !argument_) {
      copy_generator_state(default_, drawn_[static_cast<std::size_t>(cohort)]);
    }
  }

  void finish(const c10::OperatorHandle& op, const RankPartition& partition) {
    if (!is_active()) {
      return;
    }
    streams_->update(partition, drawn_);
    restore_default();
    if (!own_) {
      return;
    }
    if (given_.defined() && !own_->partition().is_uniform()) {
      throw DivergenceError(str_cat(
          c10::toString(op.operator_name()),
          " drew different amounts from one generator on different ranks. A generator of your own "
          "has one state for all ranks; use the default generator, whose state each rank has."));
    }
    at::Generator& target = given_.defined() ? given_ : default_;
    copy_generator_state(own_->generator(0), target);
  }

  ~RandomStreams() { restore_default(); }
  RandomStreams(const RandomStreams&) = delete;
  RandomStreams& operator=(const RandomStreams&) = delete;

 private:
  void restore_default() {
    if (saved_.defined()) {
      copy_generator_state(saved_, default_);
      saved_ = at::Generator();
    }
  }

  RankGenerators* streams_ = nullptr;
  std::optional<RankGenerators> own_;
  std::optional<std::size_t> argument_;  // position of the generator argument
  at::Generator given_;
  at::Generator default_;
  at::Generator saved_;
  std::vector<at::Generator> drawn_;
};

const RankSet& ranks_of_call(const Operands& operands, LockstepMode* mode) {
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

// Brings the wrappers of written operands up to what the cohorts' calls left.
void finish_writes(const Operands& operands, const OperatorInfo& info,
                   const RankPartition& partition, ResultCombiner* combiner) {
  for (const LocalOperand& operand : operands.locals()) {
    if (!operand.is_written) {
      continue;
    }
    LocalTensorImpl* impl = operand.impl;
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

void run_below(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const BelowLockstepGuard below;
  const CohortKeysGuard keys(/*keep_python=*/true);
  if (below.has_modes_below()) {
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

  const auto num_cohorts = static_cast<std::size_t>(partition.num_cohorts());
  // What the cohorts' calls returned: all of the first result, then all of the second, …
  c10::SmallVector<c10::IValue, 4> results(info.num_returns * num_cohorts);
  random.begin(partition);
  {
    const BelowLockstepGuard below;
    bool has_python_cohorts = below.has_modes_below();
    for (const LocalOperand& operand : operands.locals()) {
      has_python_cohorts = has_python_cohorts || operand.impl->has_python_cohorts();
    }
    const CohortKeysGuard keys(has_python_cohorts);
    torch::jit::Stack call;
    call.reserve(std::max(info.num_arguments, info.num_returns));
    for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
      call.clear();
      operands.fill(cohort, &call);
      random.before_call(cohort, &call);
      op.callBoxed(&call);
      random.after_call(cohort);
      for (std::size_t i = 0; i < info.num_returns; ++i) {
        results[i * num_cohorts + static_cast<std::size_t>(cohort)] = std::move(call[i]);
      }
    }
  }
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
