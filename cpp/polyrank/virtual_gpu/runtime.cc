#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <polyrank/core/errors.h>
#include <polyrank/exchange/host_memory.h>
#include <polyrank/virtual_gpu/backward_timer.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/gpu_timeline.h>
#include <polyrank/virtual_gpu/pinned_memory.h>
#include <polyrank/virtual_gpu/runtime.h>
#include <polyrank/virtual_gpu/storage.h>
#include <polyrank/virtual_gpu/streams.h>

#include <cstring>
#include <mutex>
#include <typeinfo>

namespace polyrank {

namespace {

// Holds nothing: see place_hooks().
class GpuHooks final : public at::CUDAHooksInterface {
 public:
  bool isBuilt() const override { return virtual_gpus_are_on(); }
  bool isAvailable() const override { return virtual_gpus_are_on(); }
  bool hasCUDA() const override { return virtual_gpus_are_on(); }
  bool hasCUDART() const override { return virtual_gpus_are_on(); }
  void init() const override { check_gpu(0); }
  bool hasPrimaryContext(c10::DeviceIndex gpu) const override { return gpu < deviceCount(); }

  c10::DeviceIndex deviceCount() const override { return virtual_gpus().count; }
  int getNumGPUs() const override { return virtual_gpus().count; }
  c10::DeviceIndex current_device() const override { return current_gpu(); }
  c10::DeviceIndex getCurrentDevice() const override { return current_gpu(); }
  void setCurrentDevice(c10::DeviceIndex gpu) const override { set_current_gpu(gpu); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex gpu) const override {
    const c10::DeviceIndex old = current_gpu();
    if (gpu >= 0) {
      set_current_gpu(gpu);
    }
    return old;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex gpu) const override {
    return exchangeDevice(gpu);
  }
  void deviceSynchronize(c10::DeviceIndex /*gpu*/) const override {}

  const at::Generator& getDefaultGenerator(c10::DeviceIndex gpu) const override {
    return default_gpu_generator(gpu);
  }
  at::Generator getNewGenerator(c10::DeviceIndex gpu) const override {
    const c10::DeviceIndex index = gpu < 0 ? current_gpu() : gpu;
    check_gpu(index);
    return at::make_generator<GpuGenerator>(index);
  }

  c10::Allocator* getPinnedMemoryAllocator() const override { return pinned_memory_allocator(); }
  bool isPinnedPtr(const void* data) const override { return is_pinned(data); }
  c10::Allocator* getCUDADeviceAllocator() const override { return gpu_allocator(); }
  c10::Device getDeviceFromPtr(void* /*data*/) const override {
    return {c10::kCUDA, current_gpu()};
  }

  bool compiledWithCuDNN() const override { return false; }
  bool hasMAGMA() const override { return false; }
  long versionCUDART() const override { return 0; }  // NOLINT(google-runtime-int): as the interface
  std::string showConfig() const override { return "polyrank's virtual GPU\n"; }
};

// PyTorch makes its one hooks object at the first question and keeps it. Without CUDA that object
// is of the interface itself, which holds nothing: giving it our class's table of functions is all
// it takes, whoever asked before.
void place_hooks() {
  static const GpuHooks ours;
  static_assert(sizeof(GpuHooks) == sizeof(at::CUDAHooksInterface));
  const at::CUDAHooksInterface& current = at::detail::getCUDAHooks();
  if (typeid(current) == typeid(GpuHooks)) {
    return;
  }
  if (typeid(current) != typeid(at::CUDAHooksInterface)) {
    throw UsageError(
        "this PyTorch was built for CUDA; virtual GPUs need a PyTorch without it (a CPU build)");
  }
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): PyTorch gives its hooks out as const
  std::memcpy(const_cast<void*>(static_cast<const void*>(&current)),
              static_cast<const void*>(&ours), sizeof(void*));
}

}  // namespace

void place_gpu_runtime() {
  static std::mutex mutex;
  static bool is_placed = false;
  const std::lock_guard<std::mutex> lock(mutex);
  // Each time: while there are no GPUs, a FakeTensorMode puts one that does nothing in its place
  // (c10::impl::ensureCUDADeviceGuardSet).
  c10::impl::device_guard_impl_registry[static_cast<std::size_t>(c10::kCUDA)].store(
      gpu_device_guard());
  if (is_placed) {
    return;
  }
  place_hooks();
  c10::SetAllocator(c10::kCUDA, gpu_allocator());
  set_host_memory_of_cuda(&host_tensor);
  place_gpu_timer();
  place_collective_times();
  is_placed = true;
}

}  // namespace polyrank
