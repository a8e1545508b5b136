#include <ATen/Functions.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/engine/alike_tensors.h>
#include <polyrank/engine/interpreter_hooks.h>
#include <polyrank/engine/local_int_node.h>
#include <polyrank/engine/local_tensor_impl.h>
#include <polyrank/engine/whole_tensor.h>

#include <typeinfo>
#include <utility>

namespace polyrank {

struct LocalTensorImpl::SymbolicGeometry {
  std::vector<c10::SymInt> sizes;
  std::vector<c10::SymInt> strides;
  c10::SymInt numel;
  c10::SymInt storage_offset;
};

namespace {

c10::DispatchKeySet keys_for(const at::Tensor& sample) {
  const c10::DispatchKey backend = c10::computeDispatchKey(
      c10::typeMetaToScalarType(sample.dtype()), sample.layout(), sample.device());
  return c10::DispatchKeySet(backend) | view_bits(sample);
}

// One LocalInt per entry of a list that each cohort has.
template <class Read>
c10::SymInt local_int_of(const CohortTensors& cohorts, Read read) {
  std::vector<std::int64_t> values;
  values.reserve(cohorts.tensors.size());
  for (const auto& tensor : cohorts.tensors) {
    values.push_back(read(tensor));
  }
  return make_local_int(cohorts.partition, values);
}

template <class Predicate>
bool all_cohorts(const CohortTensors& cohorts, Predicate predicate) {
  return std::all_of(cohorts.tensors.begin(), cohorts.tensors.end(), predicate);
}

}  // namespace

at::Tensor alias_on(const at::Tensor& geometry, const c10::Storage& storage) {
  at::Tensor alias = shallow_copy(geometry);
  alias.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
  return alias;
}

LocalTensorImpl::LocalTensorImpl(c10::intrusive_ptr<LocalStorage> storage, c10::DispatchKeySet keys,
                                 const at::Tensor& sample)
    : c10::TensorImpl(c10::Storage(std::move(storage)), keys, sample.dtype()) {
  // A fake tensor's storage is on meta, while it claims another device.
  device_opt_ = sample.device();
  set_python_dispatch(true);
}

at::Tensor LocalTensorImpl::make(c10::intrusive_ptr<LocalStorage> storage,
                                 const RankPartition& partition, std::vector<at::Tensor> tensors) {
  const at::Tensor& sample = tensors.front();
  auto impl = c10::make_intrusive<LocalTensorImpl>(std::move(storage), keys_for(sample), sample);
  impl->set_cohort_tensors(partition, std::move(tensors));
  at::Tensor wrapper(std::move(impl));
  if (interpreter_hooks().make_python_object != nullptr) {
    interpreter_hooks().make_python_object(wrapper);
  }
  return wrapper;
}

LocalTensorImpl* LocalTensorImpl::from(const at::TensorBase& tensor) noexcept {
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  return impl->key_set().has(c10::DispatchKey::Python) && typeid(*impl) == typeid(LocalTensorImpl)
             ? static_cast<LocalTensorImpl*>(impl)
             : nullptr;
}

LocalStorage& LocalTensorImpl::local_storage() const noexcept {
  return static_cast<LocalStorage&>(*storage_.unsafeGetStorageImpl());
}

c10::intrusive_ptr<LocalStorage> LocalTensorImpl::local_storage_ptr() const {
  return c10::intrusive_ptr<LocalStorage>::reclaim_copy(&local_storage());
}

const CohortTensors& LocalTensorImpl::cohort_tensors() const {
  if (C10_UNLIKELY(cohort_tensors_->generation != local_storage().generation())) {
    rebuild();
  }
  return *cohort_tensors_;
}

void LocalTensorImpl::rebuild() const {
  const LocalStorage& storage = local_storage();
  const CohortTensors& old = *cohort_tensors_;
  auto rebuilt = std::make_shared<CohortTensors>();
  rebuilt->partition = meet(storage.partition(), geometry_partition_);
  rebuilt->generation = storage.generation();
  const std::int32_t num_cohorts = rebuilt->partition.num_cohorts();
  rebuilt->tensors.reserve(static_cast<std::size_t>(num_cohorts));
  for (std::int32_t cohort = 0; cohort < num_cohorts; ++cohort) {
    const std::int64_t rank = rebuilt->partition.lowest_rank(cohort);
    rebuilt->tensors.push_back(alias_on(old.on_rank(rank), storage.storage_on_rank(rank)));
  }
  cohort_tensors_ = std::move(rebuilt);
}

void LocalTensorImpl::set_cohort_tensors(const RankPartition& partition,
                                         std::vector<at::Tensor> tensors) {
  check_alike(partition, tensors);
  const LocalStorage& storage = local_storage();
  const bool is_uniform =
      std::all_of(tensors.begin() + 1, tensors.end(),
                  [&](const at::Tensor& tensor) { return same_geometry(tensor, tensors.front()); });
  geometry_partition_ = is_uniform ? RankPartition::uniform(partition.ranks()) : partition;
  has_python_cohorts_ = tensors.front().key_set().has(c10::DispatchKey::Python);
  is_whole_ = !is_strided(tensors.front());

  auto cohorts = std::make_shared<CohortTensors>();
  cohorts->generation = storage.generation();
  cohorts->partition = meet(storage.partition(), geometry_partition_);
  if (cohorts->partition == partition) {
    cohorts->tensors = std::move(tensors);
  } else {  // cohorts that turn out to share bytes and geometry are one
    for (std::int32_t cohort = 0; cohort < cohorts->partition.num_cohorts(); ++cohort) {
      const std::int64_t rank = cohorts->partition.lowest_rank(cohort);
      cohorts->tensors.push_back(tensors[static_cast<std::size_t>(partition.cohort_of(rank))]);
    }
  }
  cohort_tensors_ = std::move(cohorts);

  const CohortTensors& current = *cohort_tensors_;
  const at::Tensor& first = current.tensors.front();
  symbolic_ = nullptr;
  if (is_whole_) {
    sizes_and_strides_.set_sizes(first.sizes());
    refresh_numel();
    empty_tensor_restride(at::MemoryFormat::Contiguous);
    set_custom_sizes_strides(SizesStridesPolicy::Default);
    return;
  }
  if (is_uniform) {
    if (first.unsafeGetTensorImpl()->has_symbolic_sizes_strides()) {
      TensorImpl::set_sizes_and_strides(first.sym_sizes(), first.sym_strides(),
                                        first.sym_storage_offset());
    } else {
      sizes_and_strides_.set_sizes(first.sizes());
      sizes_and_strides_.set_strides(first.strides());
      storage_offset_ = first.storage_offset();
      refresh_numel();
      refresh_contiguous();
    }
    set_custom_sizes_strides(SizesStridesPolicy::Default);
    return;
  }
  auto symbolic = std::make_shared<SymbolicGeometry>();
  for (std::int64_t dim = 0; dim < first.dim(); ++dim) {
    symbolic->sizes.push_back(
        local_int_of(current, [dim](const at::Tensor& tensor) { return tensor.size(dim); }));
    symbolic->strides.push_back(
        local_int_of(current, [dim](const at::Tensor& tensor) { return tensor.stride(dim); }));
  }
  symbolic->numel = local_int_of(current, [](const at::Tensor& tensor) { return tensor.numel(); });
  symbolic->storage_offset =
      local_int_of(current, [](const at::Tensor& tensor) { return tensor.storage_offset(); });
  symbolic_ = std::move(symbolic);
  // What PyTorch reads without asking the custom methods: right for the lowest rank at least in
  // its number of dimensions.
  sizes_and_strides_.set_sizes(first.sizes());
  sizes_and_strides_.set_strides(first.strides());
  set_custom_sizes_strides(SizesStridesPolicy::CustomSizes);
}

bool LocalTensorImpl::covers_storage() const {
  if (is_whole_) {
    return false;
  }
  const CohortTensors& cohorts = cohort_tensors();
  return all_cohorts(cohorts, [](const at::Tensor& tensor) {
    return tensor.is_non_overlapping_and_dense() && tensor.storage_offset() == 0 &&
           tensor.nbytes() == tensor.storage().nbytes();
  });
}

void LocalTensorImpl::own_cohort_tensors() {
  auto owned = std::make_shared<CohortTensors>(cohort_tensors());
  for (auto& tensor : owned->tensors) {
    if (!tensor.key_set().has(c10::DispatchKey::Python) && !is_whole_) {
      tensor = alias_on(tensor, tensor.storage());
    }
  }
  cohort_tensors_ = std::move(owned);
}

void LocalTensorImpl::refresh_geometry() {
  const CohortTensors cohorts = cohort_tensors();
  local_storage().refresh_nbytes();
  set_cohort_tensors(cohorts.partition, cohorts.tensors);
}

void LocalTensorImpl::reset(c10::intrusive_ptr<LocalStorage> storage,
                            const RankPartition& partition, std::vector<at::Tensor> tensors) {
  set_storage_and_dtype(c10::Storage(std::move(storage)), tensors.front().dtype());
  device_opt_ = tensors.front().device();
  set_cohort_tensors(partition, std::move(tensors));
}

void LocalTensorImpl::copy_local_fields(const LocalTensorImpl& other) {
  geometry_partition_ = other.geometry_partition_;
  cohort_tensors_ = other.cohort_tensors_;
  if (other.is_whole_) {  // as a copy of a sparse tensor: its own, of the same indices and values
    auto copies = std::make_shared<CohortTensors>(*cohort_tensors_);
    for (at::Tensor& tensor : copies->tensors) {
      tensor = shallow_copy(tensor);
    }
    cohort_tensors_ = std::move(copies);
  }
  symbolic_ = other.symbolic_;
  has_python_cohorts_ = other.has_python_cohorts_;
  is_whole_ = other.is_whole_;
  set_custom_sizes_strides(symbolic_ ? SizesStridesPolicy::CustomSizes
                                     : SizesStridesPolicy::Default);
}

c10::intrusive_ptr<c10::TensorImpl> LocalTensorImpl::shallow_copy_and_detach(
    const c10::VariableVersion& version_counter, bool allow_tensor_metadata_change) const {
  return shallow_copy_and_detach(c10::VariableVersion(version_counter),
                                 allow_tensor_metadata_change);
}

c10::intrusive_ptr<c10::TensorImpl> LocalTensorImpl::shallow_copy_and_detach(
    c10::VariableVersion&& version_counter, bool allow_tensor_metadata_change) const {
  auto copy = c10::make_intrusive<LocalTensorImpl>(local_storage_ptr(), key_set_,
                                                   cohort_tensors_->tensors.front());
  copy_tensor_metadata(/*src_impl=*/this, /*dest_impl=*/copy.get(), std::move(version_counter),
                       allow_tensor_metadata_change);
  copy->copy_local_fields(*this);
  if (interpreter_hooks().make_python_object != nullptr) {
    interpreter_hooks().make_python_object(at::Tensor(copy));
  }
  return copy;
}

void LocalTensorImpl::shallow_copy_from(const c10::intrusive_ptr<TensorImpl>& impl) {
  if (const auto* other = from(at::Tensor(impl))) {
    copy_tensor_metadata(other, this, version_counter(), allow_tensor_metadata_change());
    copy_local_fields(*other);
    return;
  }
  // A plain tensor: the same on all ranks.
  const at::Tensor plain = at::Tensor(impl).detach();
  const RankPartition all = RankPartition::uniform(ranks());
  auto storage = LocalStorage::make(all, {storage_behind(plain)});
  storage->set_borrowed();
  reset(std::move(storage), all, {plain});
}

void LocalTensorImpl::release_resources() {
  cohort_tensors_.reset();
  symbolic_.reset();
  c10::TensorImpl::release_resources();
}

void LocalTensorImpl::throw_sizes_differ(const char* what) const {
  const CohortTensors& cohorts = cohort_tensors();
  std::ostringstream shapes;
  constexpr std::size_t kShown = 4;
  for (std::size_t i = 0; i < std::min(cohorts.tensors.size(), kShown); ++i) {
    shapes << (i == 0 ? "" : "; ") << cohorts.tensors[i].sizes() << " on ranks "
           << cohorts.partition.cohort(static_cast<std::int32_t>(i)).to_string();
  }
  if (cohorts.tensors.size() > kShown) {
    shapes << "; … (" << cohorts.tensors.size() << " cohorts)";
  }
  raise(DivergenceError(str_cat("the program needs one value for the ", what,
                                " of a tensor whose shape differs between ranks: ", shapes.str(),
                                ". Use the symbolic sizes (`t.shape`, `sym_sizes()`), or run the "
                                "program in the threads world.")));
}

c10::Layout LocalTensorImpl::layout_impl() const {
  return cohort_tensors_->tensors.front().layout();
}

c10::IntArrayRef LocalTensorImpl::sizes_custom() const {
  if (symbolic_ == nullptr) {
    return TensorImpl::sizes_custom();
  }
  throw_sizes_differ("sizes");
}

c10::IntArrayRef LocalTensorImpl::strides_custom() const {
  if (symbolic_ == nullptr) {
    return TensorImpl::strides_custom();
  }
  throw_sizes_differ("strides");
}

std::int64_t LocalTensorImpl::numel_custom() const {
  if (symbolic_ == nullptr) {
    return TensorImpl::numel_custom();
  }
  if (const auto numel = symbolic_->numel.maybe_as_int()) {
    return *numel;
  }
  throw_sizes_differ("number of elements");
}

std::int64_t LocalTensorImpl::storage_offset_custom() const {
  if (symbolic_ == nullptr) {
    return TensorImpl::storage_offset_custom();
  }
  if (const auto offset = symbolic_->storage_offset.maybe_as_int()) {
    return *offset;
  }
  throw_sizes_differ("storage offset");
}

std::int64_t LocalTensorImpl::dim_custom() const {
  return symbolic_ == nullptr ? TensorImpl::dim_custom()
                              : static_cast<std::int64_t>(symbolic_->sizes.size());
}

c10::SymIntArrayRef LocalTensorImpl::sym_sizes_custom() const {
  return symbolic_ == nullptr ? TensorImpl::sym_sizes_custom()
                              : c10::SymIntArrayRef(symbolic_->sizes);
}

c10::SymIntArrayRef LocalTensorImpl::sym_strides_custom() const {
  return symbolic_ == nullptr ? TensorImpl::sym_strides_custom()
                              : c10::SymIntArrayRef(symbolic_->strides);
}

c10::SymInt LocalTensorImpl::sym_numel_custom() const {
  return symbolic_ == nullptr ? TensorImpl::sym_numel_custom() : symbolic_->numel;
}

c10::SymInt LocalTensorImpl::sym_storage_offset_custom() const {
  return symbolic_ == nullptr ? TensorImpl::sym_storage_offset_custom() : symbolic_->storage_offset;
}

bool LocalTensorImpl::is_strides_like_custom(at::MemoryFormat memory_format) const {
  if (symbolic_ == nullptr) {
    return TensorImpl::is_strides_like_custom(memory_format);
  }
  return all_cohorts(cohort_tensors(), [memory_format](const at::Tensor& tensor) {
    return tensor.unsafeGetTensorImpl()->is_strides_like(memory_format);
  });
}

c10::SymBool LocalTensorImpl::sym_is_contiguous_custom(at::MemoryFormat memory_format) const {
  if (symbolic_ == nullptr) {
    return TensorImpl::sym_is_contiguous_custom(memory_format);
  }
  return all_cohorts(cohort_tensors(), [memory_format](const at::Tensor& tensor) {
    return tensor.is_contiguous(memory_format);
  });
}

c10::SymBool LocalTensorImpl::sym_is_non_overlapping_and_dense_custom() const {
  if (symbolic_ == nullptr) {
    return TensorImpl::sym_is_non_overlapping_and_dense_custom();
  }
  return all_cohorts(cohort_tensors(), [](const at::Tensor& tensor) {
    return tensor.is_non_overlapping_and_dense();
  });
}

}  // namespace polyrank
