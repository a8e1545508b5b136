// Virtual GPUs for the length of a test.
#pragma once

#include <ATen/Functions.h>
#include <polyrank/virtual_gpu/devices.h>

#include <cstdint>

namespace polyrank {

class VirtualGpusOn {
 public:
  explicit VirtualGpusOn(int count = 1) {
    switch_on_virtual_gpus({.count = static_cast<c10::DeviceIndex>(count)});
  }
  ~VirtualGpusOn() { switch_off_virtual_gpus(); }
  VirtualGpusOn(const VirtualGpusOn&) = delete;
  VirtualGpusOn& operator=(const VirtualGpusOn&) = delete;
};

class GpusWithoutBytesOn {
 public:
  explicit GpusWithoutBytesOn(std::int64_t memory_bytes = std::int64_t{80} << 30) {
    switch_on_virtual_gpus({.count = 1, .memory_bytes = memory_bytes, .has_bytes = false});
  }
  ~GpusWithoutBytesOn() {
    switch_off_virtual_gpus();
    switch_on_virtual_gpus({.count = 1});  // the next test's GPUs have bytes
    switch_off_virtual_gpus();
  }
  GpusWithoutBytesOn(const GpusWithoutBytesOn&) = delete;
  GpusWithoutBytesOn& operator=(const GpusWithoutBytesOn&) = delete;
};

inline at::TensorOptions on_gpu(int index = 0) {
  return at::TensorOptions().device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

inline at::Tensor gpu(const at::Tensor& host) { return host.to(on_gpu()); }

}  // namespace polyrank
