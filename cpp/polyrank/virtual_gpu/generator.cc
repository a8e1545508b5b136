#include <c10/util/Exception.h>
#include <polyrank/virtual_gpu/devices.h>
#include <polyrank/virtual_gpu/generator.h>
#include <polyrank/virtual_gpu/rank_gpus.h>

#include <mutex>
#include <utility>
#include <vector>

namespace polyrank {

namespace {

// Exchanges the streams of two generators.
void exchange_streams(at::CPUGeneratorImpl* one, at::CPUGeneratorImpl* other) {
  const at::mt19937 engine = one->engine();
  const auto next_float = one->next_float_normal_sample();
  const auto next_double = one->next_double_normal_sample();
  one->set_engine(other->engine());
  one->set_next_float_normal_sample(other->next_float_normal_sample());
  one->set_next_double_normal_sample(other->next_double_normal_sample());
  other->set_engine(engine);
  other->set_next_float_normal_sample(next_float);
  other->set_next_double_normal_sample(next_double);
}

// The same for all ranks: the states of both are a CPU generator's.
void exchange_streams(RankGenerators* one, RankGenerators* other) {
  const RankPartition partition = one->partition();
  const std::vector<at::Tensor> states = one->get_state();
  one->set_state(other->partition(), other->get_state());
  other->set_state(partition, states);
}

}  // namespace

GpuGenerator::GpuGenerator(c10::DeviceIndex gpu, std::uint64_t seed)
    : c10::GeneratorImpl(c10::Device(c10::kCUDA, gpu), c10::DispatchKeySet(c10::DispatchKey::CUDA)),
      host_(at::detail::createCPUGenerator(seed)) {}

void GpuGenerator::set_current_seed(std::uint64_t seed) { host_.set_current_seed(seed); }

void GpuGenerator::set_offset(std::uint64_t offset) {
  TORCH_CHECK(offset == 0 && false,
              "the generator of a virtual GPU has the CPU's stream, which has no offset; save its "
              "state with get_state()");
}

std::uint64_t GpuGenerator::get_offset() const {
  TORCH_CHECK(false,
              "the generator of a virtual GPU has the CPU's stream, which has no offset; save its "
              "state with get_state()");
}

std::uint64_t GpuGenerator::current_seed() const { return host_.current_seed(); }

std::uint64_t GpuGenerator::seed() { return host_.seed(); }

void GpuGenerator::set_state(const c10::TensorImpl& new_state) {
  host_.unsafeGetGeneratorImpl()->set_state(new_state);
}

c10::intrusive_ptr<c10::TensorImpl> GpuGenerator::get_state() const {
  return host_.unsafeGetGeneratorImpl()->get_state();
}

void GpuGenerator::graphsafe_set_state(const c10::intrusive_ptr<c10::GeneratorImpl>& new_state) {
  set_state(*new_state->get_state());
}

c10::intrusive_ptr<c10::GeneratorImpl> GpuGenerator::graphsafe_get_state() const { return clone(); }

GpuGenerator* GpuGenerator::clone_impl() const {
  auto* copy = new GpuGenerator(device().index());
  copy->host_ = host_.clone();
  return copy;
}

const at::Generator& default_gpu_generator(c10::DeviceIndex gpu) {
  const c10::DeviceIndex index = gpu < 0 ? current_gpu() : gpu;
  check_gpu(index);
  return rank_gpus()->generator(index);
}

const at::Generator& host_generator(const at::Generator& generator) {
  const auto* impl = dynamic_cast<const GpuGenerator*>(generator.unsafeGetGeneratorImpl());
  TORCH_CHECK(impl != nullptr, "Expected a 'cuda' device type for generator but found '",
              generator.device().type(), "'");
  return impl->host();
}

HostDrawsAsGpu::HostDrawsAsGpu(c10::DeviceIndex gpu)
    : gpu_stream_(
          at::check_generator<at::CPUGeneratorImpl>(host_generator(default_gpu_generator(gpu)))),
      gpu_(default_gpu_generator(gpu).device()),
      mode_(BelowLockstepGuard::is_active() ? nullptr : current_modes().lockstep) {
  exchange();
}

HostDrawsAsGpu::~HostDrawsAsGpu() { exchange(); }

void HostDrawsAsGpu::exchange() {
  if (mode_ != nullptr) {
    exchange_streams(&mode_->generators(c10::kCPU), &mode_->generators(gpu_));
    return;
  }
  auto* cpu_default =
      at::check_generator<at::CPUGeneratorImpl>(at::detail::getDefaultCPUGenerator());
  const std::scoped_lock lock(cpu_default->mutex_, gpu_stream_->mutex_);
  exchange_streams(cpu_default, gpu_stream_);
}

}  // namespace polyrank
