// Random numbers on a virtual GPU.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>
#include <c10/core/Device.h>
#include <polyrank/core/export.h>
#include <polyrank/engine/lockstep_mode.h>

namespace polyrank {

// A generator of device "cuda:i" whose stream is that of a CPU generator: seeded alike, it draws
// what the CPU draws. Its state is a CPU generator's state.
//
// Thread rule: as c10::GeneratorImpl: its mutex is the caller's to lock.
class GpuGenerator final : public c10::GeneratorImpl {
 public:
  explicit GpuGenerator(c10::DeviceIndex gpu, std::uint64_t seed = c10::default_rng_seed_val);

  static c10::DeviceType device_type() { return c10::kCUDA; }

  const at::Generator& host() const noexcept { return host_; }

  void set_current_seed(std::uint64_t seed) override;
  void set_offset(std::uint64_t offset) override;
  std::uint64_t get_offset() const override;
  std::uint64_t current_seed() const override;
  std::uint64_t seed() override;
  void set_state(const c10::TensorImpl& new_state) override;
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override;
  void graphsafe_set_state(const c10::intrusive_ptr<c10::GeneratorImpl>& new_state) override;
  c10::intrusive_ptr<c10::GeneratorImpl> graphsafe_get_state() const override;

 protected:
  GpuGenerator* clone_impl() const override;

 private:
  at::Generator host_;
};

// The generator that operators on that GPU draw from where none is given; each rank has its own.
POLYRANK_API const at::Generator& default_gpu_generator(c10::DeviceIndex gpu);

// The CPU's generator with the same stream.
// Throws: c10::Error with PyTorch's words if `generator` is no virtual GPU's.
const at::Generator& host_generator(const at::Generator& generator);

// While it lives, the CPU's default generator continues the stream of that GPU's default one, in a
// lockstep mode on each rank: for operators that take no generator.
class HostDrawsAsGpu {
 public:
  explicit HostDrawsAsGpu(c10::DeviceIndex gpu);
  ~HostDrawsAsGpu();
  HostDrawsAsGpu(const HostDrawsAsGpu&) = delete;
  HostDrawsAsGpu& operator=(const HostDrawsAsGpu&) = delete;

 private:
  void exchange();

  at::CPUGeneratorImpl* gpu_stream_;
  c10::Device gpu_;
  LockstepMode* mode_;
};

}  // namespace polyrank
