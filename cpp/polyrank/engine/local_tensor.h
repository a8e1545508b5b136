// LocalTensors as C++ programs use them: made of one tensor per rank, and looked at by cohort.
#pragma once

#include <ATen/core/Tensor.h>
#include <polyrank/core/export.h>
#include <polyrank/core/rank_partition.h>
#include <polyrank/core/rank_set.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace polyrank {

// Makes a LocalTensor of one plain tensor per rank. Ranks that are given the same tensor object are
// one cohort. The LocalTensor shares memory with the tensors.
// Throws: UsageError if there is no tensor, a rank is negative or given twice, a tensor requires
//         grad or is itself a LocalTensor, or dtypes, devices or layouts are mixed.
POLYRANK_API at::Tensor make_local_tensor(
    const std::vector<std::pair<std::int64_t, at::Tensor>>& tensors);

// Makes a LocalTensor of one tensor per cohort of `partition`.
// Throws: as above.
POLYRANK_API at::Tensor make_local_tensor(const RankPartition& partition,
                                          std::vector<at::Tensor> tensors);

// What some ranks hold.
struct Cohort {
  RankSet ranks;
  at::Tensor tensor;
};

// The cohorts of a LocalTensor, each with a read-only tensor that shares memory: writing to it
// raises. Nothing is split.
// Throws: UsageError if `tensor` is no LocalTensor.
POLYRANK_API std::vector<Cohort> cohorts(const at::Tensor& tensor);

// One rank's tensor, read-only, without a copy.
// Throws: UsageError if `tensor` is no LocalTensor or does not live on `rank`.
POLYRANK_API at::Tensor on_rank(const at::Tensor& tensor, std::int64_t rank);

// One rank's tensor to be written: the rank is split off, so that writing touches no other rank.
// Throws: as on_rank().
POLYRANK_API at::Tensor take_rank(const at::Tensor& tensor, std::int64_t rank);

// Ranks that a LocalTensor lives on.
// Throws: UsageError if `tensor` is no LocalTensor.
POLYRANK_API RankSet ranks_of(const at::Tensor& tensor);

// A plain tensor on the memory that all ranks share, for another library (a numpy array): while it
// or what shares its memory lives, that memory is neither split nor replaced. Nothing where ranks
// have memory of their own, or where tensors are kept whole (sparse ones, fake ones). Throws:
// UsageError if `tensor` is no LocalTensor.
POLYRANK_API std::optional<at::Tensor> lend(const at::Tensor& tensor);

// The one tensor that all ranks hold, as a plain tensor of its own.
// Throws: DivergenceError if ranks hold different values, naming two that do.
POLYRANK_API at::Tensor reconcile(const at::Tensor& tensor);

}  // namespace polyrank
