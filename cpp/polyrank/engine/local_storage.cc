#include <polyrank/core/cohort_projection.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_storage.h>

#include <algorithm>
#include <typeinfo>
#include <utility>

namespace polyrank {

namespace {

c10::Storage clone_storage(const c10::Storage& storage) {
  const std::size_t nbytes = storage.nbytes();
  c10::Allocator* allocator = storage.allocator();
  if (allocator == nullptr) {  // memory that a library lent, e.g. torch.from_numpy
    allocator = c10::GetAllocator(storage.device_type());
  }
  // Read through the const pointer: a copy-on-write source need not materialize.
  c10::DataPtr bytes =
      nbytes == 0 ? allocator->allocate(0) : allocator->clone(storage.data(), nbytes);
  return c10::Storage(c10::Storage::use_byte_size_t(), nbytes, std::move(bytes), allocator,
                      /*resizable=*/true);
}

bool holds_bytes(const c10::Storage& storage) {
  return storage.device_type() != c10::DeviceType::Meta &&
         !storage.sym_nbytes().is_heap_allocated() &&
         (storage.nbytes() == 0 || storage.data() != nullptr);
}

// Gives `storage` another size, as PyTorch's own resize of one device's storage does.
void resize_one(const c10::Storage& storage, std::size_t nbytes, bool has_data) {
  c10::StorageImpl* impl = storage.unsafeGetStorageImpl();
  c10::DataPtr bytes(nullptr, impl->device());
  if (nbytes > 0) {
    c10::Allocator* allocator =
        impl->allocator() != nullptr ? impl->allocator() : c10::GetAllocator(impl->device_type());
    bytes = allocator->allocate(nbytes);
    const std::size_t kept = std::min(nbytes, impl->nbytes());
    if (has_data && kept > 0) {
      allocator->copy_data(bytes.get(), impl->data(), kept);
    }
  }
  impl->set_data_ptr_noswap(std::move(bytes));
  impl->set_nbytes(nbytes);
}

}  // namespace

LocalStorage::LocalStorage(RankPartition partition, std::vector<c10::Storage> storages)
    : c10::StorageImpl(use_byte_size_t(), /*size_bytes=*/0,
                       c10::DataPtr(nullptr, storages.front().device()), /*allocator=*/nullptr,
                       /*resizable=*/false),
      partition_(std::move(partition)),
      storages_(std::move(storages)),
      has_data_(holds_bytes(storages_.front())) {
  release_data_and_set_meta_custom_data_ptr_error_msg_(
      "A LocalTensor has no single data pointer: it stands for one tensor per rank. Take one "
      "rank's tensor with `t.on_rank(rank)`, or `t.reconcile()` where all ranks hold the same.");
  refresh_nbytes();
}

c10::intrusive_ptr<LocalStorage> LocalStorage::make(RankPartition partition,
                                                    std::vector<c10::Storage> storages) {
  if (storages.empty() || static_cast<std::int32_t>(storages.size()) != partition.num_cohorts()) {
    throw InternalError(str_cat("a LocalStorage over ", partition.num_cohorts(),
                                " cohorts was given ", storages.size(), " storages"));
  }
  return c10::make_intrusive<LocalStorage>(std::move(partition), std::move(storages));
}

LocalStorage* LocalStorage::from(const c10::Storage& storage) noexcept {
  c10::StorageImpl* impl = storage.unsafeGetStorageImpl();
  // The class is final, so the type is either exactly this one or not ours.
  return impl != nullptr && typeid(*impl) == typeid(LocalStorage) ? static_cast<LocalStorage*>(impl)
                                                                  : nullptr;
}

void LocalStorage::resize(const c10::SymInt& nbytes) {
  for (const auto& storage : storages_) {
    if (!storage.resizable()) {
      throw UsageError(str_cat("the memory of ranks ", partition_.ranks().to_string(),
                               " belongs to another library and can't be resized"));
    }
  }
  const LocalIntNode* differing = as_local_int(nbytes);
  if (differing != nullptr) {
    split(differing->partition());
  }
  for (std::int32_t cohort = 0; cohort < partition_.num_cohorts(); ++cohort) {
    const std::int64_t size =
        differing != nullptr
            ? differing->value(differing->partition().cohort_of(partition_.lowest_rank(cohort)))
            : nbytes.guard_int(__FILE__, __LINE__);
    resize_one(storage(cohort), static_cast<std::size_t>(size), has_data_);
  }
  ++generation_;
  refresh_nbytes();
  if (differing == nullptr && nbytes.guard_int(__FILE__, __LINE__) == 0 && can_replace()) {
    replace(RankPartition::uniform(partition_.ranks()), {storages_.front()});
  }
}

void LocalStorage::split(const RankPartition& partition) {
  if (!has_data_ || partition_ == partition || refines(partition_, partition)) {
    return;
  }
  const RankPartition finer = meet(partition_, partition);
  if (is_borrowed_) {
    throw DivergenceError(
        str_cat("a plain tensor, which holds the same on all ranks, would be written with values "
                "that differ between ranks (cohorts ",
                finer.to_string(),
                "). Make it a LocalTensor first: create it inside the mode, or clone it with "
                "`polyrank.rank_map(lambda rank: tensor.clone())`."));
  }
  if (is_lent()) {
    throw DivergenceError(str_cat(
        "a tensor whose memory a numpy array shares would be written with values that differ "
        "between ranks (cohorts ",
        finer.to_string(),
        "), and the array can hold one rank's only. Let go of the array before, copy the tensor "
        "(`t.clone()`), or run the program in the threads world (`polyrank run --world "
        "threads`)."));
  }
  if (is_whole_) {
    throw UnsupportedOpError(str_cat(
        "a sparse tensor, or memory that it shares, would be written with values that differ "
        "between ranks (cohorts ",
        finer.to_string(),
        "), or handed out to be written. Use the operator that makes a new tensor (`a = a * b` "
        "in the place of `a *= b`), look at a rank's tensor with `t.on_rank(rank)`, or run the "
        "program in the threads world (`polyrank run --world threads`)."));
  }
  const CohortProjection old_cohort = project(finer, partition_);
  std::vector<bool> taken(storages_.size(), false);
  std::vector<c10::Storage> storages;
  storages.reserve(static_cast<std::size_t>(finer.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < finer.num_cohorts(); ++cohort) {
    const auto old = static_cast<std::size_t>(old_cohort[cohort]);
    // The part with the lowest rank keeps the memory, the others get copies.
    storages.push_back(taken[old] ? clone_storage(storages_[old]) : storages_[old]);
    taken[old] = true;
  }
  partition_ = finer;
  storages_ = std::move(storages);
  is_seen_ = nullptr;
  ++generation_;
}

void LocalStorage::replace(RankPartition partition, std::vector<c10::Storage> storages) {
  partition_ = std::move(partition);
  storages_ = std::move(storages);
  is_seen_ = nullptr;
  ++generation_;
  refresh_nbytes();
}

void LocalStorage::pin(const RankSet& ranks) {
  if (ranks.is_subset_of(pinned_)) {
    return;
  }
  const RankSet& all = partition_.ranks();
  std::vector<std::int64_t> labels;
  labels.reserve(static_cast<std::size_t>(all.size()));
  for (const std::int64_t rank : all) {
    labels.push_back(ranks.contains(rank) ? rank : -1);
  }
  split(RankPartition::from_labels(all, labels));
  pinned_ = pinned_.unite(ranks);
}

void LocalStorage::refresh_nbytes() {
  const auto is_symbolic = [](const c10::Storage& storage) {
    return storage.sym_nbytes().is_heap_allocated();
  };
  if (std::any_of(storages_.begin(), storages_.end(), is_symbolic)) {
    set_nbytes(
        storages_.front()
            .sym_nbytes());  // fake tensors of symbolic shape: one cohort's word stands for all
    return;
  }
  const std::size_t expected = storages_.front().nbytes();
  if (std::all_of(storages_.begin(), storages_.end(),
                  [&](const c10::Storage& storage) { return storage.nbytes() == expected; })) {
    set_nbytes(expected);
    return;
  }
  std::vector<std::int64_t> nbytes;
  nbytes.reserve(storages_.size());
  for (const auto& storage : storages_) {
    nbytes.push_back(static_cast<std::int64_t>(storage.nbytes()));
  }
  set_nbytes(make_local_int(partition_, nbytes));
}

}  // namespace polyrank
