#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <polyrank/core/errors.h>
#include <polyrank/core/str_cat.h>
#include <polyrank/virtual_gpu/allocator_settings.h>
#include <polyrank/virtual_gpu/blas_workspaces.h>
#include <polyrank/virtual_gpu/composites.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/kernel.h>
#include <polyrank/virtual_gpu/missing_kernels.h>
#include <polyrank/virtual_gpu/rank_gpus.h>
#include <polyrank/virtual_gpu/runtime.h>
#include <polyrank/virtual_gpu/sync_batch_norm.h>

#include <array>
#include <atomic>
#include <mutex>
#include <utility>

namespace polyrank {

namespace {

std::mutex gpus_mutex;
VirtualGpus gpus_on;                           // guarded by gpus_mutex
std::atomic<c10::DeviceIndex> num_gpus_on{0};  // its count, 0 while off
std::atomic<bool> have_bytes{true};            // as gpus_on says
thread_local c10::DeviceIndex current_index = 0;

void check(const VirtualGpus& gpus) {
  if (gpus.count < 1 || gpus.count > kMaxGpus) {
    throw UsageError(str_cat("count is ", static_cast<int>(gpus.count),
                             "; a machine can be given 1 to ", static_cast<int>(kMaxGpus),
                             " virtual GPUs"));
  }
  const std::array<std::pair<const char*, std::int64_t>, 3> positive{
      {{"memory_bytes", gpus.memory_bytes},
       {"num_multiprocessors", gpus.num_multiprocessors},
       {"the major version of capability", gpus.major}}};
  for (const auto& [name, number] : positive) {
    if (number < 1) {
      throw UsageError(str_cat(name, " is ", number, "; it must be positive"));
    }
  }
  for (c10::DeviceIndex index = gpus.count; index < kMaxGpus; ++index) {
    if (rank_gpus()->statistics(index).allocated_bytes.all.current > 0) {
      throw UsageError(str_cat("tensors live on cuda:", static_cast<int>(index),
                               ", which would be gone with ", static_cast<int>(gpus.count),
                               " virtual GPUs"));
    }
  }
}

}  // namespace

void switch_on_virtual_gpus(const VirtualGpus& gpus) {
  rank_gpus()->clear_blas_workspaces();  // of those that were on before
  check(gpus);
  read_allocator_settings();
  read_blas_workspace_size(gpus.major);
  place_gpu_kernels(gpus.has_bytes);
  place_gpu_composites();
  place_sync_batch_norm();
  place_refusals();
  place_gpu_runtime();
  {
    const std::lock_guard<std::mutex> lock(gpus_mutex);
    gpus_on = gpus;
    num_gpus_on = gpus.count;
    have_bytes = gpus.has_bytes;
  }
  rank_gpus()->renew_allocators();
  at::globalContext().lazyInitDevice(c10::kCUDA);  // before, no memory is pinned for PyTorch
}

void switch_off_virtual_gpus() {
  const std::lock_guard<std::mutex> lock(gpus_mutex);
  num_gpus_on = 0;
}

bool gpus_have_bytes() noexcept { return have_bytes.load(std::memory_order_relaxed); }

std::int64_t gpu_capacity() {
  constexpr std::int64_t kBoundless = std::int64_t{1} << 46;
  const VirtualGpus gpus = virtual_gpus();
  return gpus.has_bytes ? kBoundless : gpus.memory_bytes;
}

bool virtual_gpus_are_on() noexcept { return num_gpus_on != 0; }

VirtualGpus virtual_gpus() {
  const std::lock_guard<std::mutex> lock(gpus_mutex);
  VirtualGpus gpus = gpus_on;
  gpus.count = num_gpus_on;
  return gpus;
}

c10::DeviceIndex current_gpu() noexcept { return current_index; }

void set_current_gpu(c10::DeviceIndex index) {
  check_gpu(index);
  current_index = index;
}

void check_gpu(c10::DeviceIndex index) {
  const c10::DeviceIndex count = num_gpus_on;
  TORCH_CHECK(index >= 0 && index < count,
              "CUDA error: invalid device ordinal: cuda:", static_cast<int>(index),
              " was asked for, and there are ", static_cast<int>(count), " (virtual) GPUs");
}

}  // namespace polyrank
