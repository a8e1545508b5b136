// What one operator call draws from.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>
#include <c10/util/ArrayRef.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/engine/lockstep_mode.h>
#include <polyrank/engine/operands.h>
#include <polyrank/engine/operator_info.h>
#include <polyrank/engine/random_turn.h>
#include <polyrank/engine/rank_generators.h>

#include <cstddef>
#include <optional>
#include <vector>

namespace polyrank {

// The random streams of one call; does nothing for operators that draw nothing. A cohort's
// generator is the `generator` argument where the operator has one, else it takes the default
// generator's place for the time of the cohort's call.
class RandomStreams {
 public:
  RandomStreams(const OperatorInfo& info, LockstepMode* mode, const Operands& operands,
                c10::ArrayRef<c10::IValue> arguments, const RankSet& ranks);
  ~RandomStreams() { restore_default(); }
  RandomStreams(const RandomStreams&) = delete;
  RandomStreams& operator=(const RandomStreams&) = delete;

  bool is_active() const noexcept { return streams_ != nullptr; }
  // Whether calls draw from the process's default generator, one after the other.
  bool uses_default_generator() const noexcept { return is_active() && !argument_; }
  // Ranks whose streams are in one state.
  const RankPartition& partition() const { return streams_->partition(); }

  // Fixes the cohorts of the call.
  void begin(const RankPartition& partition);
  // Around the call of each cohort, whose arguments are `stack`.
  void before_call(std::int32_t cohort, torch::jit::Stack* stack);
  void after_call(std::int32_t cohort);
  // Takes over the states that the calls left.
  // Throws: DivergenceError if ranks drew different amounts from a generator of the program's own.
  void finish(const c10::OperatorHandle& op, const RankPartition& partition);

 private:
  void restore_default();

  std::optional<RandomTurn> turn_;  // from the first look at streams to the last
  RankGenerators* streams_ = nullptr;
  std::optional<RankGenerators> own_;
  std::optional<std::size_t> argument_;  // position of the generator argument
  at::Generator given_;
  at::Generator default_;
  at::Generator saved_;
  std::vector<at::Generator> drawn_;
};

}  // namespace polyrank
