// Short ways to make and read LocalTensors in tests.
#pragma once

#include <ATen/ATen.h>
#include <polyrank/engine/local_tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace polyrank {

// A LocalTensor of one float tensor per rank, from rank 0 on.
inline at::Tensor local_tensor(const std::vector<std::vector<float>>& by_rank) {
  std::vector<std::pair<std::int64_t, at::Tensor>> tensors;
  tensors.reserve(by_rank.size());
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    tensors.emplace_back(static_cast<std::int64_t>(rank), at::tensor(by_rank[rank]));
  }
  return make_local_tensor(tensors);
}

// A LocalTensor that holds the same on ranks 0..world_size-1.
inline at::Tensor replicated(const std::vector<float>& values, std::int64_t world_size) {
  return make_local_tensor(RankPartition::uniform(RankSet::first(world_size)),
                           {at::tensor(values)});
}

inline std::vector<float> values(const at::Tensor& plain) {
  const at::Tensor flat = plain.contiguous().view({-1});
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

inline std::vector<float> values_on_rank(const at::Tensor& tensor, std::int64_t rank) {
  return values(on_rank(tensor, rank));
}

inline std::size_t num_cohorts(const at::Tensor& tensor) { return cohorts(tensor).size(); }

}  // namespace polyrank
