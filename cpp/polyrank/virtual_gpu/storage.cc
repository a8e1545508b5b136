#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/native/Resize.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/TensorImpl.h>
#include <polyrank/core/errors.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/storage.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace polyrank {

namespace {

// What the data pointer of a GPU's storage owns.
struct Block {
  Block(c10::intrusive_ptr<c10::StorageImpl> host_storage, c10::DeviceIndex gpu_index,
        std::size_t num_bytes)
      : host(std::move(host_storage)),
        gpu(gpu_index),
        counted_bytes(num_bytes),
        counted_by(rank_gpus()) {
    counted_by->change_memory(gpu, [&](GpuMemory& memory) { memory.add_block(counted_bytes); });
  }
  ~Block() {
    counted_by->change_memory(gpu, [&](GpuMemory& memory) { memory.remove_block(counted_bytes); });
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  c10::intrusive_ptr<c10::StorageImpl> host;
  c10::DeviceIndex gpu;
  std::size_t counted_bytes;
  std::shared_ptr<RankGpus> counted_by;  // of the rank that made it, whoever frees it
};

void delete_block(void* block) { delete static_cast<Block*>(block); }

Block* block_of(const c10::StorageImpl& storage) noexcept {
  return storage.data_ptr().cast_context<Block>(&delete_block);
}

c10::DataPtr data_ptr_to(c10::intrusive_ptr<c10::StorageImpl> host, c10::DeviceIndex gpu) {
  void* const data = host->mutable_data();
  const std::size_t bytes = host->nbytes();
  auto block = std::make_unique<Block>(std::move(host), gpu, bytes);
  return {data, block.release(), &delete_block, c10::Device(c10::kCUDA, gpu)};
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
Block* adopt(c10::StorageImpl* storage) {
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
  auto block = std::make_unique<Block>(std::move(host), gpu, 0);
  storage->set_data_ptr_noswap(
      {data, block.release(), &delete_block, c10::Device(c10::kCUDA, gpu)});
  return block_of(*storage);
}

c10::intrusive_ptr<c10::StorageImpl> new_host_storage(std::size_t bytes) {
  return c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), bytes,
                                               at::GetAllocator(c10::kCPU), /*resizable=*/true);
}

using c10::CachingDeviceAllocator::DeviceStats;

void set_stat(const MemoryFigure& figure, c10::CachingAllocator::StatArray* stats) {
  c10::CachingAllocator::Stat& all =
      (*stats)[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
  all.current = figure.current;
  all.peak = figure.peak;
  all.allocated = figure.allocated;
  all.freed = figure.freed;
}

class GpuAllocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    check_gpu(current_gpu());
    return data_ptr_to(new_host_storage(bytes), current_gpu());
  }
  bool initialized() override { return virtual_gpus_are_on(); }
  void emptyCache(c10::MempoolId_t /*pool*/) override { rank_gpus()->release_reserves(); }
  void recordStream(const c10::DataPtr& /*data*/, c10::Stream /*stream*/) override {}
  DeviceStats getDeviceStats(c10::DeviceIndex gpu) override {
    const GpuMemory memory = rank_gpus()->memory(gpu);
    DeviceStats stats;
    set_stat(memory.blocks, &stats.allocation);
    set_stat(memory.blocks, &stats.active);
    set_stat(memory.allocated_bytes, &stats.allocated_bytes);
    set_stat(memory.allocated_bytes, &stats.active_bytes);
    set_stat(memory.reserved_bytes, &stats.reserved_bytes);
    set_stat(memory.requested_bytes, &stats.requested_bytes);
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex gpu) override {
    rank_gpus()->change_memory(gpu, [](GpuMemory& memory) { memory.reset_accumulated(); });
  }
  void resetPeakStats(c10::DeviceIndex gpu) override {
    rank_gpus()->change_memory(gpu, [](GpuMemory& memory) { memory.reset_peaks(); });
  }
  std::pair<std::size_t, std::size_t> getMemoryInfo(c10::DeviceIndex gpu) override {
    const std::int64_t total = virtual_gpus().memory_bytes;
    const std::int64_t taken = rank_gpus()->memory(gpu).reserved_bytes.current;
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
  const Block* block = block_of(storage);
  return block == nullptr ? nullptr : block->host.get();
}

void follow_host(c10::StorageImpl* storage) {
  const Block* block = block_of(*storage);
  if (block == nullptr) {
    return;
  }
  const c10::StorageImpl& host = *block->host;
  if (storage->data() == host.data() && storage->nbytes() == host.nbytes()) {
    return;
  }
  const std::size_t bytes = host.nbytes();
  storage->set_data_ptr_noswap(data_ptr_to(block->host, block->gpu));
  storage->set_nbytes(bytes);
}

void resize_gpu_storage(c10::StorageImpl* storage, std::size_t bytes) {
  c10::StorageImpl* host = host_storage(*storage);
  if (host == nullptr) {
    throw UsageError("this storage is on no virtual GPU");
  }
  at::native::resize_bytes_cpu(host, bytes);
  follow_host(storage);
}

at::Tensor host_tensor(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  Block* block = block_of(*storage);
  if (block == nullptr) {
    block = adopt(storage);
  }
  return tensor_like(tensor, block->host, c10::DispatchKeySet(c10::DispatchKey::CPU));
}

at::Tensor gpu_tensor(const at::Tensor& host, c10::intrusive_ptr<c10::StorageImpl> storage) {
  return tensor_like(host, std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA));
}

c10::Allocator* gpu_allocator() {
  static GpuAllocator allocator;
  return &allocator;
}

}  // namespace polyrank
