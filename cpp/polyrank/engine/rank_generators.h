// The random streams of ranks: one generator per cohort of ranks whose streams are in one state.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>

#include <cstdint>
#include <span>
#include <vector>

namespace polyrank {

// Copies the state of one generator into another of the same device.
POLYRANK_API void copy_generator_state(at::Generator from, at::Generator& to);

// The generators of all ranks for one device. Each rank's stream is the one that this rank alone
// would have; ranks in one state share one generator, and part when they draw different amounts.
//
// Thread rule: none of its own; owned by a LockstepMode, used by the thread that runs it.
class POLYRANK_API RankGenerators {
 public:
  // All ranks start in `state`'s present state, which is copied.
  RankGenerators(const RankSet& ranks, const at::Generator& state);

  const RankPartition& partition() const noexcept { return partition_; }
  const at::Generator& generator(std::int32_t cohort) const {
    return generators_[static_cast<std::size_t>(cohort)];
  }

  // One generator for each cohort of `partition`, all in the state of the ranks that draw.
  // Requires: partition refines partition(). The caller draws from each once, then calls update().
  std::vector<at::Generator> draw(const RankPartition& partition) const;

  // Takes over the states after a draw. Cohorts that shared a state before and have equal states
  // after it stay one cohort.
  void update(const RankPartition& partition, std::span<const at::Generator> drawn);

  // Seeds each rank; `seeds` has one entry per cohort of `partition`.
  void seed(const RankPartition& partition, std::span<const std::int64_t> seeds);

  // Sets the state of each rank; `states` has one entry per cohort of `partition`.
  void set_state(const RankPartition& partition, std::span<const at::Tensor> states);

  // The state on each rank, one tensor per cohort of partition().
  std::vector<at::Tensor> get_state() const;

 private:
  void assign(const RankPartition& partition, std::vector<at::Generator> generators);

  RankPartition partition_;
  std::vector<at::Generator> generators_;
};

}  // namespace polyrank
