#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/native/Resize.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/TensorImpl.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/allocator_settings.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/gpu_block.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/storage.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace polyrank {

namespace {

// What the data pointer of a GPU's storage owns: its host storage, and its block of the GPU's
// memory.
class Holding {
 public:
  // Throws: c10::OutOfMemoryError if the GPU has no room.
  Holding(c10::intrusive_ptr<c10::StorageImpl> host, c10::DeviceIndex gpu, std::size_t bytes)
      : host_(std::move(host)), gpu_(gpu), rank_(rank_gpus()) {
    if (bytes > 0) {  // as CUDA's allocator, which has no block for nothing
      block_.emplace(rank_.get(), gpu, static_cast<std::int64_t>(bytes));
    }
  }

  const c10::intrusive_ptr<c10::StorageImpl>& host() const noexcept { return host_; }
  c10::DeviceIndex gpu() const noexcept { return gpu_; }

  // What tensors are told their memory's address is.
  void* address() const {
    if (host_->device_type() != c10::kMeta) {
      return host_->mutable_data();
    }
    // Nobody can have it mapped: who reads it is stopped.
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the address is a number, and never read
    return block_ ? reinterpret_cast<void*>(block_->address()) : nullptr;
  }

  // Says whose the memory is, if a history is kept.
  void set_owner(std::string_view owner, std::string_view detail) const {
    if (block_) {
      block_->set_owner(owner, detail);
    }
  }

  void record_stream(StreamNumber stream) const {
    // With bytes work is done when it is launched, so nothing must be kept for it.
    if (block_ && host_->device_type() == c10::kMeta) {
      block_->record_stream(stream);
    }
  }

 private:
  c10::intrusive_ptr<c10::StorageImpl> host_;
  c10::DeviceIndex gpu_;
  std::shared_ptr<RankGpus> rank_;  // the one that made it, whoever frees it
  std::optional<GpuBlock> block_;
};

void delete_holding(void* holding) { delete static_cast<Holding*>(holding); }

Holding* holding_of(const c10::DataPtr& data) noexcept {
  return data.cast_context<Holding>(&delete_holding);
}

Holding* holding_of(const c10::StorageImpl& storage) noexcept {
  return holding_of(storage.data_ptr());
}

c10::DataPtr data_ptr_to(c10::intrusive_ptr<c10::StorageImpl> host, c10::DeviceIndex gpu) {
  const std::size_t bytes = host->nbytes();
  auto holding = std::make_unique<Holding>(std::move(host), gpu, bytes);
  void* const address = holding->address();
  return {address, holding.release(), &delete_holding, c10::Device(c10::kCUDA, gpu)};
}

void delete_data(void* data) { delete static_cast<c10::DataPtr*>(data); }

bool is_read_only(c10::StorageImpl* storage) {
  try {
    storage->mutable_data();
    return false;
  } catch (const c10::Error&) {
    return true;
  }
}

// Gives a storage that was made over memory that there was (`from_blob`, one rank's of a
// LocalTensor) a host storage over that. Such memory is another storage's, so it is not counted.
Holding* adopt(c10::StorageImpl* storage) {
  const c10::DeviceIndex gpu = storage->device().index();
  const bool read_only = is_read_only(storage);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): a read-only host storage says so itself
  void* const data = const_cast<void*>(storage->data());
  auto owned = std::make_unique<c10::DataPtr>(storage->set_data_ptr({data, storage->device()}));
  auto host = c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), storage->nbytes(),
      c10::DataPtr(data, owned.release(), &delete_data, c10::Device(c10::kCPU)),
      /*allocator=*/nullptr, /*resizable=*/false);
  if (read_only) {
    host->set_throw_on_mutable_data_ptr();
  }
  auto holding = std::make_unique<Holding>(std::move(host), gpu, 0);
  storage->set_data_ptr_noswap(
      {data, holding.release(), &delete_holding, c10::Device(c10::kCUDA, gpu)});
  return holding_of(*storage);
}

c10::intrusive_ptr<c10::StorageImpl> new_host_storage(std::size_t bytes) {
  const c10::DeviceType host = gpus_have_bytes() ? c10::kCPU : c10::kMeta;
  return c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), bytes,
                                               at::GetAllocator(host), /*resizable=*/true);
}

using c10::CachingDeviceAllocator::DeviceStats;

using c10::CachingAllocator::Stat;
using c10::CachingAllocator::StatArray;
using c10::CachingAllocator::StatType;

void set_stat(const MemoryFigure& figure, Stat* stat) {
  stat->current = figure.current;
  stat->peak = figure.peak;
  stat->allocated = figure.allocated;
  stat->freed = figure.freed;
}

void set_stat(const PoolFigure& figure, StatArray* stats) {
  set_stat(figure.all, &(*stats)[static_cast<std::size_t>(StatType::AGGREGATE)]);
  set_stat(figure.small_pool, &(*stats)[static_cast<std::size_t>(StatType::SMALL_POOL)]);
  set_stat(figure.large_pool, &(*stats)[static_cast<std::size_t>(StatType::LARGE_POOL)]);
}

DeviceStats device_stats(const AllocatorStatistics& from) {
  DeviceStats stats;
  set_stat(from.allocation, &stats.allocation);
  set_stat(from.segment, &stats.segment);
  set_stat(from.active, &stats.active);
  set_stat(from.inactive_split, &stats.inactive_split);
  set_stat(from.allocated_bytes, &stats.allocated_bytes);
  set_stat(from.reserved_bytes, &stats.reserved_bytes);
  set_stat(from.active_bytes, &stats.active_bytes);
  set_stat(from.inactive_split_bytes, &stats.inactive_split_bytes);
  set_stat(from.requested_bytes, &stats.requested_bytes);
  set_stat(from.oversize_allocations, &stats.oversize_allocations);
  set_stat(from.oversize_segments, &stats.oversize_segments);
  stats.num_alloc_retries = from.num_alloc_retries;
  stats.num_ooms = from.num_ooms;
  stats.num_sync_all_streams = from.num_sync_all_streams;
  stats.num_device_alloc = from.num_device_alloc;
  stats.num_device_free = from.num_device_free;
  stats.max_split_size = allocator_options().max_split_size;
  return stats;
}

class GpuAllocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    check_gpu(current_gpu());
    return data_ptr_to(new_host_storage(bytes), current_gpu());
  }
  bool initialized() override { return virtual_gpus_are_on(); }
  void emptyCache(c10::MempoolId_t /*pool*/) override {
    rank_gpus()->with_all_allocators([](CachingAllocator& one) { one.empty_cache(); });
  }
  void recordStream(const c10::DataPtr& data, c10::Stream stream) override {
    if (const Holding* holding = holding_of(data)) {
      holding->record_stream(stream.id());
    }
  }
  DeviceStats getDeviceStats(c10::DeviceIndex gpu) override {
    return device_stats(rank_gpus()->statistics(gpu));
  }
  void resetAccumulatedStats(c10::DeviceIndex gpu) override {
    rank_gpus()->with_allocator(
        gpu, [](CachingAllocator& one) { one.statistics().reset_accumulated(); });
  }
  void resetPeakStats(c10::DeviceIndex gpu) override {
    rank_gpus()->with_allocator(gpu, [](CachingAllocator& one) { one.statistics().reset_peaks(); });
  }
  std::pair<std::size_t, std::size_t> getMemoryInfo(c10::DeviceIndex gpu) override {
    const std::int64_t total = virtual_gpus().memory_bytes;
    const std::int64_t taken = rank_gpus()->with_allocator(
        gpu, [](CachingAllocator& one) { return one.device().taken(); });
    return {static_cast<std::size_t>(std::max<std::int64_t>(total - taken, 0)),
            static_cast<std::size_t>(total)};
  }
  void copy_data(void* destination, const void* source, std::size_t bytes) const override {
    default_copy_data(destination, source, bytes);
  }
};

void copy_geometry(const c10::TensorImpl& from, c10::TensorImpl* to) {
  if (from.has_symbolic_sizes_strides()) {
    to->set_sizes_and_strides(from.sym_sizes(), from.sym_strides(), from.sym_storage_offset());
  } else {
    to->set_sizes_and_strides(from.sizes(), from.strides(), from.storage_offset());
  }
  if (from.is_wrapped_number()) {
    to->set_wrapped_number(true);
  }
}

at::Tensor tensor_like(const at::Tensor& tensor, c10::intrusive_ptr<c10::StorageImpl> storage,
                       c10::DispatchKeySet keys) {
  if (tensor._is_zerotensor()) {
    keys = keys.add(c10::DispatchKey::ZeroTensor);
  }
  at::Tensor made = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(std::move(storage)), keys,
                                                             tensor.dtype());
  copy_geometry(*tensor.unsafeGetTensorImpl(), made.unsafeGetTensorImpl());
  made._set_conj(tensor.is_conj());
  made._set_neg(tensor.is_neg());
  return made;
}

}  // namespace

c10::intrusive_ptr<c10::StorageImpl> make_gpu_storage(c10::intrusive_ptr<c10::StorageImpl> host,
                                                      c10::DeviceIndex gpu) {
  const std::size_t bytes = host->nbytes();
  return c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), bytes,
                                               data_ptr_to(std::move(host), gpu), gpu_allocator(),
                                               /*resizable=*/true);
}

c10::StorageImpl* host_storage(const c10::StorageImpl& storage) noexcept {
  const Holding* holding = holding_of(storage);
  return holding == nullptr ? nullptr : holding->host().get();
}

void follow_host(c10::StorageImpl* storage) {
  const Holding* holding = holding_of(*storage);
  if (holding == nullptr) {
    return;
  }
  const c10::StorageImpl& host = *holding->host();
  const bool is_in_place = host.device_type() == c10::kMeta || storage->data() == host.data();
  if (is_in_place && storage->nbytes() == host.nbytes()) {
    return;
  }
  const std::size_t bytes = host.nbytes();
  storage->set_data_ptr_noswap(data_ptr_to(holding->host(), holding->gpu()));
  storage->set_nbytes(bytes);
}

void resize_gpu_storage(c10::StorageImpl* storage, std::size_t bytes) {
  c10::StorageImpl* host = host_storage(*storage);
  if (host == nullptr) {
    throw UsageError("this storage is on no virtual GPU");
  }
  if (host->device_type() == c10::kMeta) {
    host->set_nbytes(bytes);
  } else {
    at::native::resize_bytes_cpu(host, bytes);
  }
  follow_host(storage);
}

at::Tensor host_tensor(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  const Holding* holding = holding_of(*storage);
  if (holding == nullptr) {
    holding = adopt(storage);
  }
  const auto& host = holding->host();
  return tensor_like(tensor, host, c10::DispatchKeySet(dispatch_key_of(host->device_type())));
}

at::Tensor gpu_tensor(const at::Tensor& host, c10::intrusive_ptr<c10::StorageImpl> storage) {
  if (host.is_nested()) {
    throw UnsupportedOpError(
        "nested tensors can't be on a virtual GPU. nn.TransformerEncoder makes one where it is "
        "given "
        "src_key_padding_mask: make it with enable_nested_tensor=False, use nested tensors of "
        "layout "
        "torch.jagged, or run on the CPU (`--device cpu`).");
  }
  return tensor_like(host, std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA));
}

void record_gpu_stream(const at::Tensor& tensor, c10::Stream stream) {
  if (const Holding* holding = holding_of(*tensor.storage().unsafeGetStorageImpl())) {
    holding->record_stream(stream.id());
  }
}

void set_memory_owner(const at::Tensor& tensor, std::string_view owner, std::string_view detail) {
  if (const Holding* holding = holding_of(*tensor.storage().unsafeGetStorageImpl())) {
    holding->set_owner(owner, detail);
  }
}

c10::DispatchKey dispatch_key_of(c10::DeviceType host) noexcept {
  return host == c10::kMeta ? c10::DispatchKey::Meta : c10::DispatchKey::CPU;
}

c10::Allocator* gpu_allocator() {
  static GpuAllocator allocator;
  return &allocator;
}

}  // namespace polyrank
