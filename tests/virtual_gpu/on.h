// Virtual GPUs for the length of a test.
#pragma once

#include <ATen/Functions.h>
#include <polyrank/virtual_gpu/devices.h>

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

inline at::TensorOptions on_gpu(int index = 0) {
  return at::TensorOptions().device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

}  // namespace polyrank
