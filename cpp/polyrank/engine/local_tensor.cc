#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/alike_tensors.h>
#include <polyrank/engine/kernel.h>
#include <polyrank/engine/local_tensor.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/run_operator.h>
#include <polyrank/engine/whole_tensor.h>

#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace polyrank {

namespace {

LocalTensorImpl& impl_of(const at::Tensor& tensor) {
  LocalTensorImpl* impl = tensor.defined() ? LocalTensorImpl::from(tensor) : nullptr;
  if (impl == nullptr) {
    throw UsageError(
        "expected a LocalTensor, got a plain tensor, which holds the same on all ranks");
  }
  return *impl;
}

LocalTensorImpl& impl_on_rank(const at::Tensor& tensor, std::int64_t rank) {
  LocalTensorImpl& impl = impl_of(tensor);
  if (!impl.ranks().contains(rank)) {
    throw UsageError(str_cat("this LocalTensor does not live on rank ", rank,
                             "; it lives on ranks ", impl.ranks().to_string()));
  }
  return impl;
}

void check_member(std::int64_t rank, const at::Tensor& tensor) {
  if (!tensor.defined()) {
    throw UsageError(str_cat("rank ", rank, " was given no tensor"));
  }
  if (LocalTensorImpl::from(tensor) != nullptr) {
    throw UsageError(str_cat("rank ", rank, " was given a LocalTensor; a LocalTensor is made of ",
                             "plain tensors, one per rank. Take one rank's tensor with ",
                             "`t.on_rank(", rank, ")`."));
  }
  if (tensor.requires_grad()) {
    throw UsageError(str_cat("the tensor given for rank ", rank,
                             " requires grad, but autograd runs on the LocalTensor. Detach the "
                             "tensors and give `requires_grad=True` to the LocalTensor."));
  }
}

void check_alike(std::int64_t first_rank, const at::Tensor& first, std::int64_t rank,
                 const at::Tensor& tensor) {
  if (tensor.dtype() == first.dtype() && tensor.device() == first.device() &&
      tensor.layout() == first.layout() && tensor.dim() == first.dim()) {
    return;
  }
  const auto describe = [](const at::Tensor& t) {
    return str_cat("torch.", c10::getDtypeNames(t.scalar_type()).first, " ", c10::str(t.layout()),
                   " with ", t.dim(), " dimensions on ", c10::str(t.device()));
  };
  throw UsageError(
      str_cat("the ranks of a LocalTensor hold tensors of one dtype, layout, device and number of "
              "dimensions; rank ",
              first_rank, " was given ", describe(first), ", rank ", rank, " was given ",
              describe(tensor)));
}

// The memory of `storage` under another storage, which keeps `keeper` as long as it lives.
template <typename Keeper>
c10::Storage storage_kept_by(std::unique_ptr<Keeper> keeper, const c10::Storage& storage) {
  void* const bytes = storage.data_ptr().get();
  c10::DataPtr kept(
      bytes, keeper.release(),
      [](void* context) { const std::unique_ptr<Keeper> ended(static_cast<Keeper*>(context)); },
      storage.device());
  return c10::Storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), storage.nbytes(), std::move(kept),
      /*allocator=*/nullptr, /*resizable=*/false));
}

// Memory that is lent, until this ends.
class Loan {
 public:
  Loan(LocalStorage& lender, c10::Storage memory)
      : lender_(c10::intrusive_ptr<LocalStorage>::reclaim_copy(&lender)),
        memory_(std::move(memory)) {
    lender_->begin_loan();
  }
  ~Loan() { lender_->end_loan(); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

 private:
  const c10::intrusive_ptr<LocalStorage> lender_;
  const c10::Storage memory_;
};

// A tensor on the same bytes whose storage refuses to be written.
at::Tensor read_only(const at::Tensor& tensor) {
  if (tensor.key_set().has(c10::DispatchKey::Python) || tensor.is_meta()) {
    return tensor;  // no bytes to protect
  }
  if (!is_strided(tensor)) {  // a copy, since its bytes can't be protected
    const BelowLockstepGuard below(/*has_python_tensors=*/false);
    const CohortKeysGuard keys(/*keep_python=*/false);
    return tensor.clone();
  }
  // The view keeps the memory alive through a reference to the storage that owns it.
  const c10::Storage& storage = tensor.storage();
  const c10::Storage view = storage_kept_by(std::make_unique<c10::Storage>(storage), storage);
  view.unsafeGetStorageImpl()->set_throw_on_mutable_data_ptr();
  return alias_on(tensor, view);
}

}  // namespace

at::Tensor make_local_tensor(const RankPartition& given, std::vector<at::Tensor> tensors) {
  cover_operators();  // a program without Python reaches the engine through LocalTensors alone
  RankPartition partition = given;
  if (tensors.empty()) {
    throw UsageError("a LocalTensor needs at least one rank's tensor");
  }
  std::vector<c10::Storage> storages;
  storages.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::int64_t rank = partition.lowest_rank(static_cast<std::int32_t>(i));
    check_member(rank, tensors[i]);
    check_alike(partition.lowest_rank(0), tensors.front(), rank, tensors[i]);
    // A wrapper of its own, so that nobody changes its metadata from outside.
    if (is_strided(tensors[i]) && !tensors[i].key_set().has(c10::DispatchKey::Python)) {
      tensors[i] = alias_on(tensors[i], tensors[i].storage());
    }
  }
  merge_without_data(&partition, &tensors);
  for (const at::Tensor& tensor : tensors) {
    storages.push_back(storage_behind(tensor));
  }
  auto storage = LocalStorage::make(partition, std::move(storages));
  if (!is_strided(tensors.front())) {
    storage->set_whole();
  }
  return LocalTensorImpl::make(std::move(storage), partition, std::move(tensors));
}

at::Tensor make_local_tensor(const std::vector<std::pair<std::int64_t, at::Tensor>>& tensors) {
  if (tensors.empty()) {
    throw UsageError("a LocalTensor needs at least one rank's tensor");
  }
  std::vector<std::int64_t> ranks;
  std::unordered_map<std::int64_t, const at::Tensor*> by_rank;
  std::unordered_set<const c10::TensorImpl*> checked;  // one for each cohort, not for each rank
  for (const auto& [rank, tensor] : tensors) {
    if (rank < 0) {
      throw UsageError(str_cat("ranks are counted from 0; got rank ", rank));
    }
    if (checked.insert(tensor.unsafeGetTensorImpl()).second) {
      check_member(rank, tensor);
      check_alike(tensors.front().first, tensors.front().second, rank, tensor);
    }
    if (!by_rank.emplace(rank, &tensor).second) {
      throw UsageError(str_cat("rank ", rank, " was given two tensors"));
    }
    ranks.push_back(rank);
  }
  const RankSet all = RankSet::of(ranks);
  std::unordered_map<const c10::TensorImpl*, std::int64_t> first_rank_with;
  std::vector<std::int64_t> labels;
  for (const std::int64_t rank : all) {
    labels.push_back(
        first_rank_with.emplace(by_rank.at(rank)->unsafeGetTensorImpl(), rank).first->second);
  }
  const RankPartition partition = RankPartition::from_labels(all, labels);
  std::vector<at::Tensor> cohort_tensors;
  cohort_tensors.reserve(static_cast<std::size_t>(partition.num_cohorts()));
  for (std::int32_t cohort = 0; cohort < partition.num_cohorts(); ++cohort) {
    cohort_tensors.push_back(*by_rank.at(partition.lowest_rank(cohort)));
  }
  return make_local_tensor(partition, std::move(cohort_tensors));
}

std::vector<Cohort> cohorts(const at::Tensor& tensor) {
  const CohortTensors& own = impl_of(tensor).cohort_tensors();
  std::vector<Cohort> result;
  result.reserve(own.tensors.size());
  for (std::int32_t cohort = 0; cohort < own.partition.num_cohorts(); ++cohort) {
    result.push_back(
        {own.partition.cohort(cohort), read_only(own.tensors[static_cast<std::size_t>(cohort)])});
  }
  return result;
}

at::Tensor on_rank(const at::Tensor& tensor, std::int64_t rank) {
  return read_only(impl_on_rank(tensor, rank).cohort_tensors().on_rank(rank));
}

at::Tensor take_rank(const at::Tensor& tensor, std::int64_t rank) {
  const LocalTensorImpl& impl = impl_on_rank(tensor, rank);
  impl.local_storage().pin(RankSet::range(rank, rank + 1));
  const at::Tensor& own = impl.cohort_tensors().on_rank(rank);
  if (impl.is_whole()) {
    return own;
  }
  return own.key_set().has(c10::DispatchKey::Python) ? own : alias_on(own, own.storage());
}

RankSet ranks_of(const at::Tensor& tensor) { return impl_of(tensor).ranks(); }

std::optional<at::Tensor> lend(const at::Tensor& tensor) {
  const LocalTensorImpl& impl = impl_of(tensor);
  const CohortTensors& own = impl.cohort_tensors();
  if (own.tensors.size() > 1 || impl.is_whole() || impl.has_python_cohorts()) {
    return std::nullopt;
  }
  const at::Tensor& only = own.tensors.front();
  auto loan = std::make_unique<Loan>(impl.local_storage(), only.storage());
  return alias_on(only, storage_kept_by(std::move(loan), only.storage()));
}

at::Tensor reconcile(const at::Tensor& tensor) {
  const CohortTensors& own = impl_of(tensor).cohort_tensors();
  const BelowLockstepGuard below(impl_of(tensor).has_python_cohorts());
  const CohortKeysGuard keys(below.runs_python());
  const auto dense = [](const at::Tensor& tensor) {
    return is_strided(tensor) ? tensor : tensor.to_dense();
  };
  const at::Tensor& first = own.tensors.front();
  for (std::size_t i = 1; i < own.tensors.size(); ++i) {
    const at::Tensor& other = own.tensors[i];
    if (!first.sizes().equals(other.sizes()) || !at::equal(dense(first), dense(other))) {
      throw DivergenceError(
          str_cat("ranks hold different values, so there is no one tensor to reconcile to: ranks ",
                  own.partition.cohort(0).to_string(), " differ from ranks ",
                  own.partition.cohort(static_cast<std::int32_t>(i)).to_string(),
                  ". All-reduce or gather it first, or look at the ranks with `t.cohorts()`."));
    }
  }
  return first.clone();
}

}  // namespace polyrank
