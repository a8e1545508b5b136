#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/engine/local_tensor_state.h>
#include <polyrank/engine/run_operator.h>

namespace polyrank {

namespace {

LocalTensorImpl& impl_of(const at::Tensor& tensor) {
  LocalTensorImpl* impl = LocalTensorImpl::from(tensor);
  if (impl == nullptr) {
    throw UsageError("expected a LocalTensor, got a plain tensor");
  }
  return *impl;
}

LocalTensorImpl& strided_impl_of(const at::Tensor& tensor) {
  LocalTensorImpl& impl = impl_of(tensor);
  if (impl.is_whole()) {
    throw UsageError("a LocalTensor of sparse tensors has no storage and no strides");
  }
  return impl;
}

std::vector<std::vector<std::int64_t>> ranks_by_cohort(const RankPartition& partition) {
  std::vector<std::vector<std::int64_t>> ranks;
  ranks.reserve(static_cast<std::size_t>(partition.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    ranks.push_back(partition.cohort(cohort).to_vector());
  }
  return ranks;
}

RankPartition partition_of(const std::vector<std::vector<std::int64_t>>& ranks) {
  std::vector<RankSet> cohorts;
  cohorts.reserve(ranks.size());
  for (const auto& members : ranks) {
    cohorts.push_back(RankSet::of(members));
  }
  return RankPartition::from_cohorts(cohorts);
}

at::Tensor tensor_over(const c10::Storage& storage, c10::ScalarType dtype) {
  at::Tensor tensor = at::empty({0}, at::TensorOptions().dtype(dtype).device(storage.device()));
  tensor.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
  return tensor;
}

}  // namespace

c10::intrusive_ptr<LocalStorage> storage_of(const at::Tensor& tensor) {
  return strided_impl_of(tensor).local_storage_ptr();
}

StorageState storage_state(const LocalStorage& storage) {
  StorageState state{ranks_by_cohort(storage.partition()), {}};
  for (std::int32_t cohort = 0; cohort < storage.partition().num_cohorts(); ++cohort) {
    state.second.push_back(storage.storage(cohort));
  }
  return state;
}

c10::intrusive_ptr<LocalStorage> make_storage(const std::vector<std::vector<std::int64_t>>& ranks,
                                              const std::vector<c10::Storage>& storages) {
  if (ranks.size() != storages.size()) {
    throw UsageError(str_cat("a storage over ", ranks.size(), " cohorts was given ",
                             storages.size(), " storages"));
  }
  const RankPartition partition = partition_of(ranks);
  std::vector<c10::Storage> of_cohort(ranks.size());
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    of_cohort[static_cast<std::size_t>(partition.cohort_of(ranks[i].front()))] = storages[i];
  }
  return LocalStorage::make(partition, std::move(of_cohort));
}

GeometryState geometry_of(const at::Tensor& tensor) {
  const LocalTensorImpl& impl = strided_impl_of(tensor);
  const RankPartition& partition = impl.geometry_partition();
  GeometryState state{ranks_by_cohort(partition), {}};
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    const at::Tensor& own = impl.cohort_tensors().on_rank(partition.lowest_rank(cohort));
    state.second.emplace_back(own.sizes().vec(), own.strides().vec(), own.storage_offset());
  }
  return state;
}

at::Tensor tensor_on_storage(const c10::intrusive_ptr<LocalStorage>& storage, c10::ScalarType dtype,
                             const std::vector<std::vector<std::int64_t>>& ranks,
                             const std::vector<Geometry>& geometries) {
  const CohortKeysGuard plain(/*keep_python=*/false);
  const RankPartition geometry_partition = partition_of(ranks);
  const RankPartition partition = meet(geometry_partition, storage->partition());
  std::vector<at::Tensor> tensors;
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    const std::int64_t rank = partition.lowest_rank(cohort);
    std::size_t index = 0;
    while (!RankSet::of(ranks[index]).contains(rank)) {
      ++index;
    }
    const auto& [sizes, strides, offset] = geometries[index];
    at::Tensor tensor = tensor_over(storage->storage_on_rank(rank), dtype);
    tensor.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides, offset);
    tensors.push_back(std::move(tensor));
  }
  return LocalTensorImpl::make(storage, partition, std::move(tensors));
}

void put_rank(const at::Tensor& tensor, std::int64_t rank, const at::Tensor& value) {
  const CohortKeysGuard plain(/*keep_python=*/false);
  LocalTensorImpl& impl = strided_impl_of(tensor);
  if (value.scalar_type() != tensor.scalar_type() || value.device() != tensor.device()) {
    throw UsageError(str_cat("rank ", rank, " holds ", c10::toString(tensor.scalar_type()), " on ",
                             c10::str(tensor.device()), " but was given ",
                             c10::toString(value.scalar_type()), " on ", c10::str(value.device())));
  }
  const at::Tensor own = take_rank(tensor, rank);
  if (own.sizes() == value.sizes()) {
    own.copy_(value);
    return;
  }
  const RankPartition partition = impl.partition();
  std::vector<at::Tensor> tensors = impl.cohort_tensors().tensors;
  tensors[static_cast<std::size_t>(partition.cohort_of(rank))] = value.detach();
  std::vector<c10::Storage> storages;
  storages.reserve(tensors.size());
  for (const at::Tensor& entry : tensors) {
    storages.push_back(entry.storage());
  }
  auto storage = LocalStorage::make(partition, std::move(storages));
  storage->pin(RankSet::range(rank, rank + 1));
  impl.reset(std::move(storage), partition, std::move(tensors));
}

}  // namespace polyrank
