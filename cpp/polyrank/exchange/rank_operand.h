// A tensor operand of a collective, seen rank by rank.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/core/rank_set.h>
#include <polyrank/engine/local_tensor_impl.h>

#include <cstdint>
#include <vector>

namespace polyrank {

// What some ranks are to hold. Ranks that `partition` leaves out keep what they have.
struct RankResults {
  RankPartition partition;
  std::vector<at::Tensor> tensors;  // one per cohort of `partition`

  // Whether the tensors are new memory, contiguous and held by nobody else. Otherwise they may be
  // operands' own.
  bool are_new = true;

  const at::Tensor& on_rank(std::int64_t rank) const {
    return tensors[static_cast<std::size_t>(partition.cohort_of(rank))];
  }
};

// A LocalTensor, or a plain tensor, which holds the same on all ranks.
class RankOperand {
 public:
  // `ranks`: the ranks of the launch, on which a plain tensor stands.
  // Throws: UsageError if a LocalTensor lives on other ranks.
  RankOperand(const at::Tensor& tensor, const RankSet& ranks);

  // Which ranks hold the same.
  const RankPartition& partition() const noexcept { return partition_; }

  // One rank's tensor.
  const at::Tensor& on_rank(std::int64_t rank) const;

  // Bytes of one rank's tensor; the largest where ranks differ.
  std::int64_t largest_nbytes() const;

  // Gives ranks their results. Cohorts whose results are the same become one where the operand is
  // all that its storage holds.
  // Requires: results' numbers of elements and dtypes match the operand's; see check_fits()
  // Throws: DivergenceError if the operand is plain and ranks would hold different values.
  void write(const RankResults& results) const;

 private:
  bool replace(const RankResults& results) const;
  void replace_whole(const RankResults& results) const;
  void copy_in(const RankResults& results) const;
  void write_plain(const RankResults& results) const;

  at::Tensor tensor_;
  LocalTensorImpl* impl_;  // null for a plain tensor
  RankSet ranks_;
  RankPartition partition_;
};

// The ranks of a launch: those of the LocalTensors among `tensors`, or else the mode's.
// Throws: UsageError if LocalTensors live on different ranks.
RankSet ranks_of_launch(const std::vector<at::Tensor>& tensors);

// One rank's value of a number that may differ between ranks.
// Requires: the number has a value on that rank
std::int64_t number_on_rank(const c10::SymInt& number, std::int64_t rank);

// One rank, the lowest, of each set of ranks that are one cohort in both partitions.
// Requires: a's ranks are among b's
std::vector<std::int64_t> lowest_ranks(const RankPartition& a, const RankPartition& b);

// `results`, and for ranks of `ranks` that it leaves out what `operand` holds there, in memory of
// its own.
RankResults with_kept_ranks(const RankResults& results, const RankOperand& operand,
                            const RankSet& ranks);

}  // namespace polyrank
